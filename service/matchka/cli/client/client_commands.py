"""The client commands of `matchka`: tables for people, --json for machines, exit codes for scripts."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from matchka.cli.output.decision_table import decision_table
from matchka.cli.output.model_tables import memory_of, tables_of
from matchka.cli.output.scores import shown
from matchka.client import Client
from matchka.client.answers import FusedVerifyAnswer, VerifyAnswer
from matchka.errors import InvalidFieldError, MatchkaError, MissingPackageError, extra_required

NO_MATCH: Final = 1
FAILED: Final = 2
PICTURE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
COMPONENTS_SHOWN: Final = 8
WARNING_STYLE: Final = "yellow"

Url = Annotated[str | None, typer.Option("--url", help="Where the service is; MATCHKA_URL by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print the service's answer as JSON.")]
ModelName = Annotated[
    str | None, typer.Option("--model", help="Bundle to use; by the first file's kind if left out: voice or face.")
]
FaceOption = Annotated[
    str | None, typer.Option("--face", help="Which face: dominant, only, aligned; for identify also all.")
]
FormatOption = Annotated[
    str | None,
    typer.Option("--sample-format", help="Format of a radio recording: cf32 or ci16; others show it."),
]
Dim = Annotated[int | None, typer.Option("--dim", help="A trained dim; full_dim by default.")]
SampleFile = Annotated[
    Path, typer.Argument(help="Audio (WAV, FLAC, OGG, MP3), a picture (JPEG, PNG, WebP, BMP), or what --model takes.")
]
SampleFiles = Annotated[list[Path], typer.Argument(help="1 to 32 files of one kind.")]
MaxFmr = Annotated[float | None, typer.Option("--max-fmr", help="False match rate to keep; 0.001 by default.")]

commands = typer.Typer()
subjects_commands = typer.Typer(help="List, show and delete subjects.")
commands.add_typer(subjects_commands, name="subjects")


@contextmanager
def reported_errors() -> Iterator[None]:
    """Turn an error into one clear message and exit code 2."""
    try:
        yield
    except MatchkaError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(FAILED) from error


def model_for(model: str | None, file: Path) -> str:
    """The model that was named, or the default one for a kind of file.

    >>> model_for(None, Path("a.JPG")), model_for("own", Path("a.wav"))
    ('face', 'own')
    """
    return model or ("face" if file.suffix.lower() in PICTURE_SUFFIXES else "voice")


def connected(url: str | None) -> Client:
    """A client for the service of the command line or the environment.

    Raises: SettingsError: no address, or, where the server is installed too, a variable that it would refuse.
    """
    with suppress(MissingPackageError), extra_required("cpu"):
        from matchka.settings import read_settings

        read_settings(url=url)
    return Client(url)


@commands.command()
def enroll(
    subject_id: str,
    files: SampleFiles,
    model: ModelName = None,
    face: FaceOption = None,
    sample_format: FormatOption = None,
    mode: Annotated[
        str | None,
        typer.Option("--mode", help="create: refuse a subject that has templates; append: one that has none."),
    ] = None,
    on_duplicate: Annotated[
        str | None,
        typer.Option("--on-duplicate", help="Somebody else who may be the same person: report (default), or refuse."),
    ] = None,
    on_error: Annotated[
        str | None, typer.Option("--on-error", help="A file that is refused: fail (default), or skip it.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Enrol samples that do not agree with each other or the subject; for admin.")
    ] = False,
    consent: Annotated[str | None, typer.Option("--consent", help="Reference to the consent that was given.")] = None,
    purpose: Annotated[str | None, typer.Option("--purpose", help="What the enrolment is for.")] = None,
    expires_at: Annotated[
        datetime | None,
        typer.Option("--expires-at", formats=["%Y-%m-%dT%H:%M:%S%z"], help="From then on the subject is gone."),
    ] = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Enrol a subject from one or more samples."""
    named = model_for(model, files[0])
    with reported_errors():
        answer = connected(url).enroll(
            subject_id,
            list(files),
            named,
            face,
            sample_format,
            mode=mode,
            on_duplicate=on_duplicate,
            on_error=on_error,
            force=force,
            consent=consent,
            purpose=purpose,
            expires_at=expires_at,
        )
    if json:
        print_json(answer)
        return
    console = Console()
    noun = "template" if answer.template_count == 1 else "templates"
    counted = f"{len(answer.template_ids)} new, {answer.template_count} {answer.model} {noun} in all"
    console.print(f"enrolled {answer.subject_id}: {counted}", highlight=False, soft_wrap=True)
    for skipped in answer.skipped:
        name = files[skipped.file - 1].name
        console.print(f"left out {name}: {skipped.detail}", style=WARNING_STYLE, markup=False, soft_wrap=True)
    for other in answer.similar_subjects or ():
        console.print(f"may be the same person as {other.subject_id} ({shown(other.similarity)})", style=WARNING_STYLE)


@commands.command()
def verify(
    subject_id: str,
    file: SampleFile,
    model: ModelName = None,
    face: FaceOption = None,
    sample_format: FormatOption = None,
    dim: Dim = None,
    max_fmr: MaxFmr = None,
    with_face: Annotated[
        Path | None, typer.Option("--with-face", help="A picture: decide on voice and face together.")
    ] = None,
    require: Annotated[
        str | None,
        typer.Option(
            "--require", help="With --with-face: both (each has to pass as well; the default), or their sum alone."
        ),
    ] = None,
    max_fmr_each: Annotated[
        float | None,
        typer.Option("--max-fmr-each", help="With --require both: the rate that each alone keeps; 0.01 by default."),
    ] = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Is this sample of the subject? Exit code 0: match, 1: no match, 2: error."""
    with reported_errors():
        client = connected(url)
        if with_face is not None:
            answer: VerifyAnswer | FusedVerifyAnswer = client.verify_jointly(
                subject_id, file, with_face, max_fmr, require, max_fmr_each
            )
        elif require is not None or max_fmr_each is not None:
            raise InvalidFieldError(
                "--require and --max-fmr-each belong to --with-face.",
                value=require or max_fmr_each,
                remedy="Name a picture with --with-face, or leave them out.",
            )
        else:
            answer = client.verify(subject_id, file, model_for(model, file), dim, max_fmr, face, sample_format)
    _report_decision(answer, json)


@commands.command()
def compare(
    file_a: SampleFile,
    file_b: SampleFile,
    model: ModelName = None,
    face: FaceOption = None,
    sample_format: FormatOption = None,
    dim: Dim = None,
    max_fmr: MaxFmr = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Are these two samples of one subject? Exit code 0: match, 1: no match, 2: error."""
    with reported_errors():
        answer = connected(url).compare(file_a, file_b, model_for(model, file_a), dim, max_fmr, face, sample_format)
    _report_decision(answer, json)


@commands.command()
def identify(
    file: SampleFile,
    model: ModelName = None,
    face: FaceOption = None,
    sample_format: FormatOption = None,
    top_k: Annotated[int | None, typer.Option("--top-k", help="Candidates to list; 5 by default.")] = None,
    dim: Dim = None,
    max_fpir: Annotated[float | None, typer.Option("--max-fpir", help="FPIR to keep; 0.01 by default.")] = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Whose sample is this, if anybody's? Exit code 0: match, 1: unknown, 2: error."""
    with reported_errors():
        answer = connected(url).identify(file, model_for(model, file), top_k, dim, max_fpir, face, sample_format)
    if json:
        print_json(answer)
    else:
        table = Table("subject", "similarity", title=f"match: {answer.match or 'unknown'}")
        for candidate in answer.candidates:
            table.add_row(candidate.subject_id, shown(candidate.similarity))
        table.caption = f"threshold {shown(answer.threshold)}, dim {answer.dim}, {answer.gallery_size} subjects"
        Console().print(table)
        for number, found in enumerate(answer.faces or [], start=1):
            left, top, right, bottom = found.face.box if found.face else (0.0, 0.0, 0.0, 0.0)
            where = f"{left:.0f},{top:.0f} to {right:.0f},{bottom:.0f}"
            how = ", small and enhanced" if found.face and found.face.enhanced else ""
            Console().print(f"face {number} at {where}{how}: {found.match or 'unknown'}")
    if answer.match is None:
        raise typer.Exit(NO_MATCH)


@commands.command()
def embed(
    files: SampleFiles,
    model: ModelName = None,
    face: FaceOption = None,
    sample_format: FormatOption = None,
    dim: Dim = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Embed samples."""
    with reported_errors():
        answer = connected(url).embed(list(files), model_for(model, files[0]), dim, face, sample_format)
    if json:
        print_json(answer)
        return
    table = Table("file", f"embedding ({answer.model} {answer.version}, dim {answer.dim})")
    for file, vector in zip(files, answer.embeddings, strict=True):
        shown = " ".join(f"{value:+.4f}" for value in vector[:COMPONENTS_SHOWN] if isinstance(value, float))
        table.add_row(escape(file.name), f"{shown} …")
    Console().print(table)


@commands.command()
def models(url: Url = None, json: Json = False) -> None:
    """List the served bundles with their accuracy at each dim."""
    with reported_errors():
        answer = connected(url).models()
    if json:
        print_json(answer)
        return
    for model in answer.models:
        if not model.dims:
            kinds = ", ".join(str(output.get("kind")) for output in model.outputs.values())
            Console().print(f"{memory_of(model)}; {kinds}; no embedding", highlight=False)
            continue
        for table in tables_of(model):
            Console().print(table)
        if model.current and model.subjects_to_reenroll:
            waiting = f"{model.subjects_to_reenroll} subjects have to enrol again with {model.name} {model.version}"
            Console().print(waiting, style=WARNING_STYLE, highlight=False)


@commands.command()
def wait(
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds to wait.")] = 60.0, url: Url = None
) -> None:
    """Wait until the service is ready."""
    with reported_errors():
        connected(url).wait_until_ready(timeout_s)


@subjects_commands.command("list")
def list_subjects(url: Url = None, json: Json = False) -> None:
    """List every subject."""
    table = Table("subject", "templates", "enrolled")
    cursor: str | None = None
    with reported_errors():
        client = connected(url)
        while True:
            page = client.subjects(limit=1000, cursor=cursor)
            if json:
                print_json(page)
            for subject in page.subjects:
                table.add_row(subject.subject_id, str(subject.template_count), f"{subject.created_at:%Y-%m-%d %H:%M}")
            cursor = page.next_cursor
            if cursor is None:
                break
    if not json:
        Console().print(table)


@subjects_commands.command("show")
def show_subject(subject_id: str, url: Url = None, json: Json = False) -> None:
    """Show one subject's templates."""
    with reported_errors():
        answer = connected(url).subject(subject_id)
    if json:
        print_json(answer)
        return
    shown_terms = {name: getattr(answer, name) for name in ("consent", "purpose", "expires_at", "metadata")}
    caption = ", ".join(f"{name}: {value}" for name, value in shown_terms.items() if value)
    table = Table(
        "template",
        "model",
        "version",
        "enrolled",
        title=answer.subject_id,
        caption=escape(caption) if caption else None,
    )
    for template in answer.templates:
        table.add_row(template.template_id, template.model, template.version, f"{template.created_at:%Y-%m-%d %H:%M}")
    Console().print(table)


@subjects_commands.command("delete-template")
def delete_template(template_id: str, url: Url = None) -> None:
    """Delete one template of a subject."""
    with reported_errors():
        connected(url).delete_template(template_id)


def _report_decision(answer: VerifyAnswer | FusedVerifyAnswer, json: bool) -> None:
    if json:
        print_json(answer)
    else:
        Console().print(decision_table(answer))
    if not answer.match:
        raise typer.Exit(NO_MATCH)


def print_json(answer: BaseModel) -> None:
    """Print an answer as the service gave it."""
    typer.echo(answer.model_dump_json())
