"""`matchka audit`: verify the audit log, and write it as JSON lines. No running service is needed."""

import json as json_format
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Final

import typer
from rich.console import Console

from matchka.cli.gallery.gallery_commands import (
    DISAGREES,
    FINDINGS_SHOWN,
    opened_for_reading,
    private_settings,
    progress_bar,
    require_store,
    unlocked_vault,
)
from matchka.cli.output.errors import reported_errors
from matchka.cli.output.report import Report, reporting, say
from matchka.errors import BackupError, InvalidFieldError
from matchka.runtime.atomic_file import atomic_file
from matchka.settings import Settings
from matchka.store.audit.checkpoint import CheckpointFile
from matchka.store.audit.log import ROWS_AT_ONCE, head_place, pruned_place, records_in
from matchka.store.audit.prunings import Prunings
from matchka.store.audit.verification import AuditReport, verify_log
from matchka.store.keys.records import DEFAULT_TENANT
from matchka.store.subject_hash import SubjectHasher, read_hasher
from matchka.store.subject_id import check_subject_id

STANDARD_OUTPUT: Final = Path("-")

audit_commands = typer.Typer(no_args_is_help=True, help="Verify and export the audit log.", add_completion=False)


def hasher_of(settings: Settings) -> SubjectHasher:
    """What hashes subjects, and signs the checkpoint.

    Raises: VaultLockedError: its key is in a key store that cannot be opened.
    """
    with unlocked_vault(settings) as vault:
        return read_hasher(vault, settings.subject_hash_key)


@audit_commands.command()
@reporting
def verify() -> Report:
    """Check that no record was changed, removed or cut off, while the service serves or not. Exit code 1: one was."""
    with private_settings() as settings:
        require_store(settings)  # before the key of a new one is made
        hasher = hasher_of(settings)
        checkpoint = CheckpointFile(settings.audit_checkpoint, hasher).read()
        with opened_for_reading(settings) as (_, session), progress_bar("verifying") as progress:
            report = verify_log(session, checkpoint, Prunings(hasher), progress)
    flaws = [{"sequence": flaw.sequence, "what": flaw.what} for flaw in report.flaws]
    found = {"records": report.records, "last": report.last, "pruned": report.pruned}
    document = {**found, "flaws": flaws, "notices": report.notices}
    return Report(document, lambda console: _show(console, report), DISAGREES if report.flaw_count else 0)


@audit_commands.command()
def export(
    target: Annotated[Path, typer.Argument(help="The file to write; - for the standard output.")] = STANDARD_OUTPUT,
    since: Annotated[
        str | None, typer.Option(help="Only records from this time on: 2026-01-31, 2026-01-31T12:00Z.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only records before this time.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's; all by default.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only records about this subject (of --tenant).")] = None,
) -> None:
    """Write the records as JSON lines, each with its hash, oldest first, while the service serves or not."""
    with reported_errors(), private_settings() as settings:
        start, end = _time_of("--since", since), _time_of("--until", until)
        whose = None
        require_store(settings)
        if subject is not None:
            tenant = tenant or DEFAULT_TENANT
            whose = hasher_of(settings).hash_of(tenant, check_subject_id(subject))
        with (
            opened_for_reading(settings) as (_, session),
            _opened_target(target) as file,
            progress_bar("exporting") as progress,
        ):
            first, last = pruned_place(session).sequence, head_place(session).sequence
            for count, (record, stored) in enumerate(records_in(session, start, end, tenant, whose)):
                file.write(json_format.dumps({**record.as_json(), "hash": stored}) + "\n")
                if count % ROWS_AT_ONCE == 0:
                    progress(record.sequence - first, last - first)


@contextmanager
def _opened_target(target: Path) -> Iterator[IO[str]]:
    """Where to write: a file that appears when it is whole, or the standard output.

    Raises: BackupError: it cannot be written.
    """
    try:
        with nullcontext(None) if target == STANDARD_OUTPUT else atomic_file(target) as partial:
            if partial is None:
                yield sys.stdout
            else:
                with partial.open("w", encoding="utf-8") as file:
                    yield file
    except OSError as error:
        raise BackupError("The audit log cannot be exported.", value=error, remedy="Check the disk's space.") from error


def _time_of(name: str, text: str | None) -> datetime | None:
    """A time that was given, in UTC where it says no zone."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidFieldError(
            f"{name} is not a time.", value=text, remedy="Write it like 2026-01-31 or 2026-01-31T12:00:00Z."
        ) from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _show(console: Console, report: AuditReport) -> None:
    pruned = f", {report.pruned} before them were pruned" if report.pruned else ""
    say(console, f"{report.records} records up to {report.last}{pruned}")
    for notice in report.notices:
        say(console, f"note: {notice}", "yellow")
    for flaw in report.flaws[:FINDINGS_SHOWN]:
        say(console, f"record {flaw.sequence}: {flaw.what}", "red")
    if report.flaw_count > FINDINGS_SHOWN:
        say(console, f"and {report.flaw_count - FINDINGS_SHOWN} more", "red")
    if not report.flaw_count:
        say(console, "no record was changed, removed or cut off")
