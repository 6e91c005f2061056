"""The client commands of `matchka`: enrol, decide, embed. Tables for people, exit codes for scripts."""

from datetime import datetime
from inspect import signature
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from matchka.cli.client.completion import one_of
from matchka.cli.client.options import (
    Camera,
    Dim,
    FaceOption,
    FormatOption,
    MaxFmr,
    ModelName,
    OptionalFile,
    OptionalFiles,
    Record,
    SampleFile,
    SampleFiles,
    Url,
    connected,
    format_of,
    model_for,
    model_for_all,
)
from matchka.cli.client.sources import sample_of, samples_of
from matchka.cli.enrolment.display import show_summary
from matchka.cli.enrolment.enrol_people import enrol_people
from matchka.cli.enrolment.options import Anew, Jobs, JournalFile, OutcomeFile, PatienceS, People, RunOptions
from matchka.cli.enrolment.requests import Terms
from matchka.cli.output.decision_table import decision_table
from matchka.cli.output.model_tables import memory_of, tables_of
from matchka.cli.output.report import NO_MATCH, Report, options_of, reporting, say, unsaid
from matchka.cli.output.scores import shown
from matchka.client.answers import (
    EmbedAnswer,
    EnrollAnswer,
    FusedVerifyAnswer,
    IdentifyAnswer,
    ModelsAnswer,
    VerifyAnswer,
)
from matchka.errors import InvalidFieldError, MissingFieldError

COMPONENTS_SHOWN: Final = 8
WARNING_STYLE: Final = "yellow"

commands = typer.Typer()


@commands.command()
@reporting
def enroll(
    subject_id: Annotated[str | None, typer.Argument(help="Whom the samples are of; nobody with --from.")] = None,
    files: OptionalFiles = None,
    model: ModelName = None,
    face: FaceOption = None,
    sample_format: FormatOption = None,
    mode: Annotated[
        str | None,
        typer.Option(
            "--mode",
            help="create: refuse a subject that has templates; append: one that has none.",
            autocompletion=one_of("create_or_append", "create", "append"),
        ),
    ] = None,
    on_duplicate: Annotated[
        str | None,
        typer.Option(
            "--on-duplicate",
            help="Somebody else who may be the same person: report (default), or refuse.",
            autocompletion=one_of("report", "refuse"),
        ),
    ] = None,
    on_error: Annotated[
        str | None,
        typer.Option(
            "--on-error",
            help="A file that is refused: fail (default), or skip it.",
            autocompletion=one_of("fail", "skip"),
        ),
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
    record: Record = None,
    camera: Camera = False,
    people: People = None,
    jobs: Jobs = None,
    journal: JournalFile = None,
    report: OutcomeFile = None,
    patience_s: PatienceS = None,
    anew: Anew = False,
    url: Url = None,
) -> Report:
    """Enrol a subject from one or more samples, or the people of a file. Exit code 1: samples of theirs failed."""
    console = Console(stderr=True)
    client = connected(url, console)  # pauses are told above the progress bar
    options = RunOptions(jobs, patience_s, journal, report, anew, options_of(signature(enroll)))
    if people is not None:
        run = options.run_beside(SUBJECT_ID=subject_id, mode=mode, on_error=on_error, record=record, camera=camera)
        terms = Terms((face, sample_format), on_duplicate, force, consent, purpose, expires_at)
        done = enrol_people(client, people, lambda file: model or model_for(file), terms, run, console)
        return Report(done, lambda console: show_summary(console, done), done.exit_code)
    options.require_none()
    if subject_id is None:
        raise MissingFieldError(
            "There is nobody to enrol.", value="subject_id", remedy="Name a subject, or a file of people with --from."
        )
    given = samples_of(files, record, camera, model, sample_format)
    answer = client.enroll(
        subject_id,
        given.samples,
        given.model,
        face,
        given.sample_format,
        mode=mode,
        on_duplicate=on_duplicate,
        on_error=on_error,
        force=force,
        consent=consent,
        purpose=purpose,
        expires_at=expires_at,
    )
    return Report(answer, lambda console: _show_enrolment(console, answer, given.names))


@commands.command()
@reporting
def verify(
    subject_id: str,
    file: OptionalFile = None,
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
            "--require",
            help="With --with-face: both (each has to pass as well; the default), or their sum alone.",
            autocompletion=one_of("both", "sum"),
        ),
    ] = None,
    max_fmr_each: Annotated[
        float | None,
        typer.Option("--max-fmr-each", help="With --require both: the rate that each alone keeps; 0.01 by default."),
    ] = None,
    record: Record = None,
    camera: Camera = False,
    url: Url = None,
) -> Report:
    """Is this sample of the subject? Exit code 0: match, 1: no match, 2: error."""
    client = connected(url)
    if with_face is None and (require is not None or max_fmr_each is not None):
        raise InvalidFieldError(
            "--require and --max-fmr-each belong to --with-face.",
            value=require or max_fmr_each,
            remedy="Name a picture with --with-face, or leave them out.",
        )
    given = sample_of(file, record, camera, model, sample_format)
    if with_face is not None:
        return _decision(client.verify_jointly(subject_id, given.sample, with_face, max_fmr, require, max_fmr_each))
    return _decision(client.verify(subject_id, given.sample, given.model, dim, max_fmr, face, given.sample_format))


@commands.command()
@reporting
def compare(
    file_a: SampleFile,
    file_b: SampleFile,
    model: ModelName = None,
    face: FaceOption = None,
    sample_format: FormatOption = None,
    dim: Dim = None,
    max_fmr: MaxFmr = None,
    url: Url = None,
) -> Report:
    """Are these two samples of one subject? Exit code 0: match, 1: no match, 2: error."""
    named = model_for_all([file_a, file_b], model)
    of_files = sample_format or format_of([file_a, file_b])
    return _decision(connected(url).compare(file_a, file_b, named, dim, max_fmr, face, of_files))


@commands.command()
@reporting
def identify(
    file: OptionalFile = None,
    model: ModelName = None,
    face: FaceOption = None,
    sample_format: FormatOption = None,
    top_k: Annotated[int | None, typer.Option("--top-k", help="Candidates to list; 5 by default.")] = None,
    dim: Dim = None,
    max_fpir: Annotated[float | None, typer.Option("--max-fpir", help="FPIR to keep; 0.01 by default.")] = None,
    record: Record = None,
    camera: Camera = False,
    url: Url = None,
) -> Report:
    """Whose sample is this, if anybody's? Exit code 0: match, 1: unknown, 2: error."""
    client = connected(url)
    given = sample_of(file, record, camera, model, sample_format)
    of_file = given.sample_format
    answer = client.identify(given.sample, given.model, top_k, dim, max_fpir, face, of_file)
    return Report(answer, lambda console: _show_candidates(console, answer), 0 if answer.match else NO_MATCH)


@commands.command()
@reporting
def embed(
    files: SampleFiles,
    model: ModelName = None,
    face: FaceOption = None,
    sample_format: FormatOption = None,
    dim: Dim = None,
    url: Url = None,
) -> Report:
    """Embed samples."""
    named = model_for_all(files, model)
    of_files = sample_format or format_of(files)
    answer = connected(url).embed(list(files), named, dim, face, of_files)
    return Report(answer, lambda console: _show_embeddings(console, answer, files))


@commands.command()
@reporting
def models(url: Url = None) -> Report:
    """List the served bundles with their accuracy at each dim."""
    answer = connected(url).models()
    return Report(answer, lambda console: _show_models(console, answer))


@commands.command()
@reporting
def wait(
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds to wait.")] = 60.0, url: Url = None
) -> Report:
    """Wait until the service is ready."""
    connected(url).wait_until_ready(timeout_s)
    return Report({"status": "ready"}, unsaid)


def _decision(answer: VerifyAnswer | FusedVerifyAnswer) -> Report:
    return Report(answer, lambda console: console.print(decision_table(answer)), 0 if answer.match else NO_MATCH)


def _show_enrolment(console: Console, answer: EnrollAnswer, names: list[str]) -> None:
    noun = "template" if answer.template_count == 1 else "templates"
    counted = f"{len(answer.template_ids)} new, {answer.template_count} {answer.model} {noun} in all"
    say(console, f"enrolled {answer.subject_id}: {counted}")
    for skipped in answer.skipped:
        say(console, f"left out {names[skipped.file - 1]}: {skipped.detail}", WARNING_STYLE)
    for other in answer.similar_subjects or ():
        say(console, f"may be the same person as {other.subject_id} ({shown(other.similarity)})", WARNING_STYLE)


def _show_candidates(console: Console, answer: IdentifyAnswer) -> None:
    table = Table("subject", "similarity", title=f"match: {answer.match or 'unknown'}")
    for candidate in answer.candidates:
        table.add_row(candidate.subject_id, shown(candidate.similarity))
    table.caption = f"threshold {shown(answer.threshold)}, dim {answer.dim}, {answer.gallery_size} subjects"
    console.print(table)
    for number, found in enumerate(answer.faces or [], start=1):
        left, top, right, bottom = found.face.box if found.face else (0.0, 0.0, 0.0, 0.0)
        where = f"{left:.0f},{top:.0f} to {right:.0f},{bottom:.0f}"
        how = ", small and enhanced" if found.face and found.face.enhanced else ""
        say(console, f"face {number} at {where}{how}: {found.match or 'unknown'}")


def _show_embeddings(console: Console, answer: EmbedAnswer, files: list[Path]) -> None:
    table = Table("file", f"embedding ({answer.model} {answer.version}, dim {answer.dim})")
    for file, vector in zip(files, answer.embeddings, strict=True):
        first = " ".join(f"{value:+.4f}" for value in vector[:COMPONENTS_SHOWN] if isinstance(value, float))
        table.add_row(escape(file.name), f"{first} …")
    console.print(table)


def _show_models(console: Console, answer: ModelsAnswer) -> None:
    for model in answer.models:
        if not model.dims:
            kinds = ", ".join(str(output.get("kind")) for output in model.outputs.values())
            say(console, f"{memory_of(model)}; {kinds}; no embedding")
            continue
        for table in tables_of(model):
            console.print(table)
        if model.current and model.subjects_to_reenroll:
            waiting = f"{model.subjects_to_reenroll} subjects have to enrol again with {model.name} {model.version}"
            say(console, waiting, WARNING_STYLE)
