"""`matchka subjects export | set | delete`: what a person can ask of whoever runs the service."""

import os
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from matchka.cli.client.client_commands import Url, connected, print_json, reported_errors
from matchka.errors import InvalidFieldError

NEVER: Final = "never"
Metadata = Annotated[
    list[str] | None, typer.Option("--note", help="NAME=TEXT, as often as needed; in place of all that were there.")
]

rights_commands = typer.Typer()


@rights_commands.command("export")
def export_subject(
    subject_id: str,
    target: Annotated[Path | None, typer.Argument(help="The file to write; the output by default.")] = None,
    url: Url = None,
) -> None:
    """Write all that is held about one subject as JSON, its embeddings in clear. Needs a key with the scope admin."""
    with reported_errors():
        answer = connected(url).export_subject(subject_id)
        if target is None:
            print_json(answer)
        else:
            write_privately(target, answer.model_dump_json())


@rights_commands.command("set")
def set_terms(
    subject_id: str,
    consent: Annotated[str | None, typer.Option(help="Reference to the consent; empty removes it.")] = None,
    purpose: Annotated[str | None, typer.Option(help="What the enrolment is for; empty removes it.")] = None,
    expires_at: Annotated[
        str | None, typer.Option(help="ISO 8601 with its zone: from then on the subject is gone; or `never`.")
    ] = None,
    notes: Metadata = None,
    url: Url = None,
) -> None:
    """Change why a subject is enrolled, and until when. Needs a key with the scope admin."""
    with reported_errors():
        when = "" if expires_at == NEVER else expires_at
        answer = connected(url).change_subject(subject_id, consent, purpose, when, notes_of(notes))
    print_json(answer)


@rights_commands.command("delete")
def delete_subject(
    subject_id: str,
    receipt: Annotated[Path | None, typer.Option("--receipt", help="File for the signed receipt.")] = None,
    url: Url = None,
) -> None:
    """Delete a subject everywhere."""
    with reported_errors():
        client = connected(url)
        if receipt is None:
            client.delete_subject(subject_id)
            return
        write_privately(receipt, "")  # what cannot be written is found out before anything is deleted
        write_privately(receipt, client.receipt_of_deletion(subject_id).model_dump_json())
    Console().print(f"deleted; check the receipt with `matchka receipt verify {receipt}`", soft_wrap=True)


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
