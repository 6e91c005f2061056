"""`matchka subjects export | set | delete`: what a person can ask of whoever runs the service."""

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from matchka.cli.client.options import Url, connected
from matchka.cli.output.report import Report, reporting, said, text_of, unsaid
from matchka.errors import InvalidFieldError

NEVER: Final = "never"
Metadata = Annotated[
    list[str] | None, typer.Option("--note", help="NAME=TEXT, as often as needed; in place of all that were there.")
]

rights_commands = typer.Typer()


@rights_commands.command("export")
@reporting
def export_subject(
    subject_id: str,
    target: Annotated[Path | None, typer.Argument(help="The file to write; the output by default.")] = None,
    url: Url = None,
) -> Report:
    """Write all that is held about one subject as JSON, its embeddings in clear. Needs a key with the scope admin."""
    answer = connected(url).export_subject(subject_id)
    if target is None:
        return Report(answer, said(text_of(answer)))
    write_privately(target, text_of(answer))
    return Report({"subject_id": subject_id, "file": str(target)}, said(f"{target}: all about {subject_id}"))


@rights_commands.command("set")
@reporting
def set_terms(
    subject_id: str,
    consent: Annotated[str | None, typer.Option(help="Reference to the consent; empty removes it.")] = None,
    purpose: Annotated[str | None, typer.Option(help="What the enrolment is for; empty removes it.")] = None,
    expires_at: Annotated[
        str | None, typer.Option(help="ISO 8601 with its zone: from then on the subject is gone; or `never`.")
    ] = None,
    notes: Metadata = None,
    url: Url = None,
) -> Report:
    """Change why a subject is enrolled, and until when. Needs a key with the scope admin."""
    when = "" if expires_at == NEVER else expires_at
    answer = connected(url).change_subject(subject_id, consent, purpose, when, notes_of(notes))
    return Report(answer, said(text_of(answer)))


@rights_commands.command("delete")
@reporting
def delete_subject(
    subject_id: str,
    receipt: Annotated[Path | None, typer.Option("--receipt", help="File for the signed receipt.")] = None,
    url: Url = None,
) -> Report:
    """Delete a subject everywhere."""
    client = connected(url)
    done: dict[str, object] = {"subject_id": subject_id, "deleted": True}
    if receipt is None:
        client.delete_subject(subject_id)
        return Report(done, unsaid)
    write_privately(receipt, "")  # what cannot be written is found out before anything is deleted
    signed = client.receipt_of_deletion(subject_id)
    write_privately(receipt, text_of(signed))
    text = f"deleted; check the receipt with `matchka receipt verify {receipt}`"
    return Report({**done, "receipt": signed.model_dump(mode="json")}, said(text))


def notes_of(given: list[str] | None) -> dict[str, str | int | float] | None:
    """Notes by name; None where none was given.

    Raises: InvalidFieldError: one has no name.

    >>> notes_of(["badge=7", "team=a=b"])
    {'badge': '7', 'team': 'a=b'}
    """
    if not given:
        return None
    for note in given:
        if "=" not in note:
            raise InvalidFieldError("A note is NAME=TEXT.", value=note, remedy="Say --note badge=7, for example.")
    return {name: text for name, _, text in (note.partition("=") for note in given)}


def write_privately(path: Path, text: str) -> None:
    """Write a file that nobody else may read.

    Raises: InvalidFieldError: it cannot be written.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{text}\n" if text else "")
    except OSError as error:
        raise InvalidFieldError(
            "The file cannot be written.", value=path, remedy=f"Name another one ({error.strerror})."
        ) from error
