"""`matchka gallery`: backup, restore, integrity check and status. No running service is needed."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from matchka.cli.client.options import Url, connected
from matchka.cli.gallery.audited import note_command
from matchka.cli.gallery.gallery_status import disagreements_with_service, print_status, status_of
from matchka.cli.output.report import Report, reporting, said, say
from matchka.errors import StoreError
from matchka.runtime.data_dir import is_owned, owned_data_dir
from matchka.settings import Settings, read_settings
from matchka.store.audit.records import Outcome
from matchka.store.audit.verification import chain_flaws
from matchka.store.database_errors import as_matchka_error
from matchka.store.deletions import deletions_in
from matchka.store.engine import file_of, open_engine, reading
from matchka.store.integrity.check import CheckReport, check_store
from matchka.store.migrations.migrate import require_current_tables
from matchka.store.sqlite.backup import backup_file, require_file
from matchka.store.sqlite.restore import RestorePlan, RestoreReport
from matchka.store.sqlite.staging import restored_file
from matchka.store.transfer.backups import backups_of
from matchka.store.transfer.deletions_file import read_deletions, write_deletions
from matchka.store.vault.open_vault import VaultPlan, opened_vault
from matchka.store.vault.vault import Vault

DISAGREES: Final = 1
FINDINGS_SHOWN: Final = 20

DeletionsOption = Annotated[
    Path | None, typer.Option("--deletions", "--ledger", help="A deletion log (see `deletions`) to respect as well.")
]
Resurrect = Annotated[bool, typer.Option("--resurrect", help="Bring back what was deleted since.")]

gallery_commands = typer.Typer(
    no_args_is_help=True, help="Back up, restore, move, check and count what is enrolled.", add_completion=False
)


@contextmanager
def private_settings() -> Iterator[Settings]:
    """The settings, and whatever is written readable for its own user only."""
    before = os.umask(0o077)  # templates are biometric data
    try:
        yield read_settings()
    finally:
        os.umask(before)


@contextmanager
def progress_bar(title: str, bytes_counted: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A bar on the error stream: yields what moves it, called with how much is done of how much."""
    amount = DownloadColumn() if bytes_counted else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def unlocked_vault(settings: Settings) -> Iterator[Vault]:
    """The vault of the settings.

    Raises: VaultLockedError: it cannot be opened.
    """
    with opened_vault(VaultPlan.of(settings)) as vault:
        vault.require_open()
        yield vault


def require_store(settings: Settings) -> None:
    """Refuse a data folder without a database: a command that made one would answer for a store that nobody uses.

    Raises: StoreError: there is none. A server is asked when it is opened.
    """
    file = file_of(settings.effective_database_url)
    if file is not None:
        require_file(file)


@contextmanager
def opened_for_reading(settings: Settings) -> Iterator[tuple[Engine, Session]]:
    """One unchanging state of the store of a data folder, which a service may go on changing.

    Raises: StoreError: there is none, or its tables are not those of this program.
    """
    require_store(settings)
    engine = open_engine(settings.effective_database_url)
    try:
        require_current_tables(engine)
        with reading(engine) as session:
            yield engine, session
    except SQLAlchemyError as error:
        known = as_matchka_error(error)
        remedy = known.remedy if known else "Check MATCHKA_DATABASE_URL, or restore a backup."
        raise StoreError("The database cannot be read.", value=error, remedy=remedy) from error
    finally:
        engine.dispose()


@gallery_commands.command()
@reporting
def backup(
    target: Annotated[
        str, typer.Argument(help="The file to write, or a folder (FOLDER/): then the file is named by the time.")
    ],
) -> Report:
    """Write a backup of everything, while the service serves or not."""
    with private_settings() as settings:
        url = settings.effective_database_url
        backups_of(url).require(url)
        file = backup_file(target, datetime.now(UTC))
        with progress_bar("copying", bytes_counted=True) as advance:
            manifest = backups_of(url).write(url, file, advance)
        try:
            note_command(settings, Outcome.DONE, detail=f"store {manifest.identity}")
        except StoreError as error:  # a store that cannot be written is one to be copied
            Console(stderr=True).print(f"the audit log does not have it: {escape(str(error))}", style="yellow")
    held = f"{manifest.subjects} subjects, {manifest.templates} templates, {file.stat().st_size} bytes"
    return Report({"file": str(file), **manifest.model_dump(mode="json")}, said(f"{file}: {held}"))


@gallery_commands.command("restore")
@reporting
def restore_command(
    file: Annotated[Path, typer.Argument(help="A backup.")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace the store that is there.")] = False,
    resurrect: Resurrect = False,
    deletions_file: DeletionsOption = None,
) -> Report:
    """Restore a backup, without what was deleted since; the service must be stopped."""
    with private_settings() as settings:
        url = settings.effective_database_url
        database = restored_file(settings)
        deletions = tuple(read_deletions(deletions_file)) if deletions_file else ()
        with owned_data_dir(settings.data_dir), unlocked_vault(settings) as vault:
            has_file, is_audited = deletions_file is not None, settings.audit.enabled
            plan = RestorePlan(file, database, replace, resurrect, deletions, has_file, vault, is_audited=is_audited)
            database.parent.mkdir(parents=True, exist_ok=True)
            with progress_bar("unpacking", True) as advance, progress_bar("checking") as progress:
                report = backups_of(url).restore(url, plan, advance, progress)
    statistics = report.statistics
    result = {
        "subjects": statistics.subjects,
        "templates": statistics.templates,
        "kept_out": report.kept_out,
        "brought_back": report.brought_back,
        "unreadable": report.unreadable,
        "deletions": statistics.deletions,
        "old_keys": report.old_keys,
        "created_at": report.manifest.created_at.isoformat(),
    }
    return Report(result, lambda console: _show_restored(console, report))


def _show_restored(console: Console, report: RestoreReport) -> None:
    held = report.statistics
    when = report.manifest.created_at.isoformat()
    say(console, f"restored the state of {when}: {held.subjects} subjects, {held.templates} templates")
    say(console, f"{report.kept_out} templates that were deleted since stayed out")
    if report.unreadable:
        say(console, f"{report.unreadable} subjects stayed out because their keys were destroyed")
    if report.brought_back:
        say(console, f"{report.brought_back} templates that had been deleted are back", "yellow")
    if report.old_keys:
        said = "API keys are as they were then, those revoked since as well: see `matchka keys list`"
        say(console, f"{report.old_keys} {said}", "yellow")


@gallery_commands.command("deletions")
@gallery_commands.command("ledger", hidden=True)  # its earlier name
@reporting
def write_deletions_file(
    target: Annotated[Path, typer.Argument(help="The file to write: JSON lines, ids and times only.")],
) -> Report:
    """Write the deletion log, for `restore --deletions` and `import --deletions` on another machine."""
    with private_settings() as settings, opened_for_reading(settings) as (_, session):
        count = write_deletions(target, deletions_in(session))
    return Report({"file": str(target), "deletions": count}, said(f"{count} deletions"))


@gallery_commands.command()
@reporting
def verify(url: Url = None) -> Report:
    """Check every row, the audit log, and the running service's galleries. Exit code 0: sound, 1: not, 2: error."""
    with private_settings() as settings:
        with (
            unlocked_vault(settings) as vault,
            opened_for_reading(settings) as (_, session),
            progress_bar("checking") as progress,
        ):
            report = check_store(session, progress, vault)
            of_log = [f"audit log, record {flaw.sequence}: {flaw.what}" for flaw in chain_flaws(session)]
        is_serving = is_owned(settings.data_dir)
        disagreements = []
        if is_serving:
            with opened_for_reading(settings) as (engine, _):
                disagreements = disagreements_with_service(engine, connected(url))
    findings = [f"{finding.what}: {finding.where}" for finding in report.findings] + of_log + disagreements
    counts = {name: getattr(report, name) for name in ("subjects", "templates", "references")}
    answer = {"sound": not findings, **counts, "service_compared": is_serving, "findings": findings}
    return Report(
        answer, lambda console: _show_check(console, report, findings, is_serving), DISAGREES if findings else 0
    )


@gallery_commands.command()
@reporting
def status() -> Report:
    """What is enrolled: tenants, subjects and templates of each model and version, and who has to enrol again."""
    with private_settings() as settings, opened_for_reading(settings) as (_, session):
        answer = status_of(session, settings)
    return Report(answer, lambda console: print_status(answer, console))


def _show_check(console: Console, report: CheckReport, findings: list[str], is_serving: bool) -> None:
    say(console, f"{report.subjects} subjects, {report.templates} templates, {report.references} references read")
    for finding in findings[:FINDINGS_SHOWN]:
        say(console, finding, "red")
    if len(findings) > FINDINGS_SHOWN:
        say(console, f"and {len(findings) - FINDINGS_SHOWN} more", "red")
    say(console, "sound" if not findings else f"{len(findings)} things are wrong")
    if not is_serving:
        say(console, "no service runs on this data folder, so none was compared")
