"""`matchka gallery export`, `import` and `prune`: templates from one store to another, and of old versions away."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, cast

import typer
from rich.console import Console
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.bundles.repository import Listed, list_bundles
from matchka.cli.gallery.audited import note_command
from matchka.cli.gallery.gallery_commands import (
    DeletionsOption,
    Resurrect,
    opened_for_reading,
    private_settings,
    progress_bar,
    unlocked_vault,
)
from matchka.cli.output.report import Report, reporting, said, say
from matchka.errors import BackupError, StoreError, UnknownModelError, VaultError
from matchka.runtime.data_dir import owned_data_dir
from matchka.settings import Settings
from matchka.store.audit.log import AuditLog
from matchka.store.audit.records import Outcome
from matchka.store.engine import file_of, open_engine
from matchka.store.migrations.migrate import bring_up_to_date
from matchka.store.statistics import statistics_of
from matchka.store.subject_hash import SubjectHasher, read_hasher
from matchka.store.transfer.deletions_file import read_deletions
from matchka.store.transfer.exporter import write_export
from matchka.store.transfer.import_plan import Existing, ImportPlan, ImportReport
from matchka.store.transfer.importer import import_archive
from matchka.store.transfer.prune import prune_templates
from matchka.store.vault.encryption import encrypt_store
from matchka.store.vault.subject_keys import finish_erasures, require_keys
from matchka.store.vault.vault import Vault

DEFAULT_TENANT: Final = "default"

transfer_commands = typer.Typer()


@transfer_commands.command("export")
@reporting
def export_command(
    target: Annotated[Path, typer.Argument(help="The file to write.")],
    model: Annotated[str, typer.Option("--model", help="The model whose templates to export.")],
    version: Annotated[
        str | None, typer.Option("--version", help="Of the model; may be left out where the store has one only.")
    ] = None,
    tenant: Annotated[str, typer.Option("--tenant", help="Whose templates.")] = DEFAULT_TENANT,
    in_clear: Annotated[
        bool, typer.Option("--in-clear", help="Write in clear what the store holds encrypted; nothing else is written.")
    ] = False,
) -> Report:
    """Write the templates of one tenant and model in a documented format (docs/backup.md), while the service serves."""
    with (
        private_settings() as settings,
        unlocked_vault(settings) as vault,
        opened_for_reading(settings) as (_, session),
        progress_bar("exporting") as progress,
    ):
        if vault.is_sealing and not in_clear:
            raise VaultError(
                "Templates are encrypted, and an export holds them in clear: no deletion reaches it.",
                value=target,
                remedy="Say --in-clear, and encrypt the file; or move the store by `matchka gallery backup`.",
            )
        chosen = version or _only_version(session, tenant, model)
        note_command(settings, Outcome.DONE, tenant, model, chosen, detail="in clear")
        manifest = write_export(session, target, tenant, model, chosen, progress, vault)
    held = f"{manifest.subjects} subjects, {manifest.templates} templates of {manifest.model} {manifest.version}"
    return Report(manifest, said(f"{target}: {held}"))


@transfer_commands.command("import")
@reporting
def import_command(
    file: Annotated[Path, typer.Argument(help="An export.")],
    tenant: Annotated[str | None, typer.Option("--tenant", help="Whose it becomes; as exported if left out.")] = None,
    existing: Annotated[
        str, typer.Option("--existing", help="Subjects that have templates of this version: fail, skip or replace.")
    ] = "fail",
    resurrect: Resurrect = False,
    deletions_file: DeletionsOption = None,
) -> Report:
    """Take an export into the store; beside services on a database server, else the service must be stopped.

    An import that was cut short is finished by the same command.
    """
    if existing not in ("fail", "skip", "replace"):
        raise typer.BadParameter("one of fail, skip, replace", param_hint="--existing")
    with private_settings() as settings, _owned_file(settings):
        deletions = tuple(read_deletions(deletions_file)) if deletions_file else ()
        plan = ImportPlan(file, tenant, cast(Existing, existing), resurrect, deletions)
        full_dims = {
            (b.manifest.name, b.manifest.version): b.manifest.output(EmbeddingOutput).full_dim
            for b in list_bundles(settings.models_dir)
            if b.manifest.has_output(EmbeddingOutput)
        }
        with (
            unlocked_vault(settings) as vault,
            opened_for_writing(settings, vault, hasher := read_hasher(vault, settings.subject_hash_key)) as engine,
            progress_bar("checking", True) as advance,
            progress_bar("importing") as progress,
        ):
            encrypt_first(engine, vault, progress)
            audit = AuditLog(engine, is_on=settings.audit.enabled)
            report = import_archive(engine, plan, full_dims, advance, progress, vault, audit, hasher)
    counts = {
        name: getattr(report, name)
        for name in ("tenant", "subjects", "templates", "skipped", "replaced", "present", "kept_out", "removed")
    }
    return Report(counts, lambda console: _show_import(console, report))


def _show_import(console: Console, report: ImportReport) -> None:
    say(console, f"{report.subjects} subjects, {report.templates} templates are now of {report.tenant}")
    say(console, f"{report.skipped} subjects were skipped, {report.replaced} replaced, {report.present} there already")
    say(console, f"{report.kept_out} templates that were deleted stayed out, {report.removed} more were deleted here")


@transfer_commands.command()
@reporting
def prune(
    model: Annotated[str, typer.Argument(help="The model whose older versions to clear.")],
) -> Report:
    """Delete older versions' templates of subjects that have the current one; the service must be stopped."""
    with private_settings() as settings, owned_data_dir(settings.data_dir):
        current = _current(settings, model).manifest.version
        with (
            unlocked_vault(settings) as vault,
            opened_for_writing(settings, vault, hasher := read_hasher(vault, settings.subject_hash_key)) as engine,
            progress_bar("encrypting") as progress,
        ):
            encrypt_first(engine, vault, progress)
            with Session(engine) as session, session.begin():
                removed = prune_templates(session, model, current, datetime.now(UTC), vault, hasher)
                audit = AuditLog(engine, is_on=settings.audit.enabled)
                audit.note(session, Outcome.DELETED, model=model, detail=f"not {current}", count=removed)
            finish_erasures(engine, vault)
    text = f"{removed} templates of versions before {model} {current} are gone"
    return Report({"model": model, "current": current, "removed": removed}, said(text))


@contextmanager
def _owned_file(settings: Settings) -> Iterator[None]:
    """Own the data folder where the store is a file, which has one service; a server's has many."""
    if file_of(settings.effective_database_url) is None:
        yield
        return
    with owned_data_dir(settings.data_dir):
        yield


@contextmanager
def opened_for_writing(settings: Settings, vault: Vault, hasher: SubjectHasher | None = None) -> Iterator[Engine]:
    """The store of a data folder that this process owns, its tables brought up to date.

    Raises:
        StoreError: the database cannot be opened or written.
        VaultLockedError: the vault does not open what it holds.
    """
    engine = open_engine(settings.effective_database_url)
    try:
        bring_up_to_date(engine, hasher)
        require_keys(engine, vault)
        yield engine
    except SQLAlchemyError as error:
        raise StoreError(
            "The database cannot be written.", value=error, remedy="Check MATCHKA_DATABASE_URL and the disk."
        ) from error
    finally:
        engine.dispose()  # on SQLite the last connection, which empties the log of what was deleted


def encrypt_first(engine: Engine, vault: Vault, progress: Callable[[int, int], None]) -> None:
    """Encrypt what is still in clear, where there is a vault: these commands change a store that is all encrypted."""
    opened = vault.opened()
    if opened is not None:
        encrypt_store(engine, opened, progress)


def _only_version(session: Session, tenant: str, model: str) -> str:
    held = [h.version for h in statistics_of(session).holdings if (h.tenant, h.model) == (tenant, model)]
    if len(held) != 1:
        raise BackupError(
            f"The tenant {tenant} has templates of {len(held)} versions of {model}.",
            value=", ".join(held) or None,
            remedy="Name one with --version." if held else "See `matchka gallery status` for what there is.",
        )
    return held[0]


def _current(settings: Settings, model: str) -> Listed:
    for listed in list_bundles(settings.models_dir):
        if listed.manifest.name == model and listed.is_current:
            return listed
    raise UnknownModelError(
        "There is no bundle of this name in the models folder.", value=model, remedy="See `matchka gallery status`."
    )
