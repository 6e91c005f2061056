"""`matchka vault`: make keys, encrypt a store, rotate keys, copy the key store, put it back, and see how it stands."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from matchka.cli.gallery.audited import note_command
from matchka.cli.gallery.gallery_commands import (
    opened_for_reading,
    private_settings,
    progress_bar,
    unlocked_vault,
)
from matchka.cli.gallery.transfer_commands import opened_for_writing
from matchka.cli.output.report import Report, reporting, said, say
from matchka.errors import VaultError
from matchka.runtime.data_dir import is_owned
from matchka.settings import Settings
from matchka.store.audit.records import Outcome
from matchka.store.engine import file_of, open_engine
from matchka.store.key_store.backup import write_key_backup
from matchka.store.key_store.key_store import KeyStore
from matchka.store.key_store.master_key import MasterKeySource, create_key_file
from matchka.store.key_store.restore import restore_key_backup
from matchka.store.migrations.migrate import version_of_tables
from matchka.store.schema import SubjectRow
from matchka.store.sqlite.backup import is_there
from matchka.store.vault.encryption import encrypt_store
from matchka.store.vault.open_vault import OpenVault
from matchka.store.vault.rotation import rotate_master, rotate_tenant
from matchka.store.vault.status import VaultStatus, vault_status

vault_commands = typer.Typer(
    no_args_is_help=True, help="Encrypt templates, rotate keys, and see how they are kept.", add_completion=False
)


@contextmanager
def opened_by_key(settings: Settings) -> Iterator[OpenVault]:
    """The vault of the settings.

    Raises:
        VaultError: they name no master key.
        VaultLockedError: it cannot be opened.
    """
    with unlocked_vault(settings) as vault:
        opened = vault.opened()
        if opened is None:
            raise VaultError(
                "There is no master key, so nothing is encrypted.",
                remedy="Make one with `matchka vault create-key FILE`, and set MATCHKA_MASTER_KEY_FILE to it.",
            )
        yield opened


@vault_commands.command("create-key")
@reporting
def create_key(file: Annotated[Path, typer.Argument(help="The file to write; nobody else may read it.")]) -> Report:
    """Make a new master key in a file."""
    with private_settings():
        key = create_key_file(file)
    keep = "Keep a copy where the backups are not: without it, nothing opens what it encrypts."
    return Report({"file": str(file), "master": key.name}, said(f"{file}: master key {key.name}\n{keep}"))


@vault_commands.command()
@reporting
def status() -> Report:
    """What is encrypted, under which keys, and what is still to do."""
    with (
        private_settings() as settings,
        opened_by_key(settings) as vault,
        opened_for_reading(settings) as (_, session),
    ):
        answer = vault_status(session, vault)
    return Report(asdict(answer), lambda console: _show_status(console, answer))


@vault_commands.command()
@reporting
def encrypt() -> Report:
    """Encrypt what the store holds in clear; a service that serves must have the vault already."""
    with private_settings() as settings:
        _require_service_with_vault(settings)
        with (
            opened_by_key(settings) as vault,
            opened_for_writing(settings, vault) as engine,
            progress_bar("encrypting") as progress,
        ):
            note_command(settings, Outcome.BEGUN)
            count = encrypt_store(engine, vault, progress)
            note_command(settings, Outcome.DONE)
    return Report({"encrypted": count}, said(f"{count} subjects were encrypted; nothing is in clear any more"))


@vault_commands.command()
@reporting
def rotate(
    master: Annotated[
        Path | None, typer.Option("--master", help="File of the master key to go over to: run it before and after.")
    ] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Give this tenant a new key.")] = None,
) -> Report:
    """Put another key in the place of the master key or of a tenant's, while the service serves."""
    if (master is None) == (tenant is None):
        raise typer.BadParameter("name one of --master and --tenant")
    with (
        private_settings() as settings,
        opened_by_key(settings) as vault,
        progress_bar("wrapping keys") as progress,
    ):
        what = f"key of tenant {tenant}" if tenant is not None else "master key"
        note_command(settings, Outcome.BEGUN, tenant, detail=what)
        if tenant is not None:
            count = rotate_tenant(vault, tenant, progress)
            result: dict[str, object] = {"tenant": tenant, "keys": count, "finished": True}
            text = f"{count} subjects' keys of {tenant} are wrapped by a new key; the old one is gone"
        else:
            new = MasterKeySource(master).read()
            is_finished = rotate_master(vault, new, progress)
            result = {"master": new.name, "finished": is_finished}
            text = (
                f"only the master key {new.name} opens the key store now"
                if is_finished
                else f"the master key {new.name} opens the key store, too. Set MATCHKA_MASTER_KEY_FILE to it "
                "(or put it there), and run the same command again: then the old one opens it no more"
            )
        note_command(settings, Outcome.ROTATED, tenant, detail=what)
    return Report(result, said(text))


@vault_commands.command()
@reporting
def backup(target: Annotated[Path, typer.Argument(help="The copy; the one that is there is replaced.")]) -> Report:
    """Copy the key store, while the service serves; keep one copy only, and never with those of the templates."""
    with private_settings() as settings, opened_by_key(settings) as vault:
        write_key_backup(vault.keys.engine, target)
    return Report({"file": str(target)}, said(f"{target}: a copy of the key store"))


@vault_commands.command()
@reporting
def restore(
    source: Annotated[Path, typer.Argument(help="A copy that `matchka vault backup` wrote.")],
) -> Report:
    """Put a copy into an empty key store, without the keys of whoever was deleted since; no service may run."""
    with private_settings() as settings:
        held = _held_key_ids(settings)
        with closing(KeyStore(settings.effective_key_database_url)) as keys:
            restored = restore_key_backup(source, keys, held)
        with opened_by_key(settings) as vault:  # refused where the master key is not the one of these keys
            name = vault.master.name
        if held:  # else there is no store yet that could note it
            note_command(settings, Outcome.RESTORED, detail="key store")
    back = f"{restored.keys} keys are back, which the master key {name} opens"
    out = f"{restored.left_out} keys of nobody in the store were left out"
    return Report(asdict(restored) | {"master": name}, said(f"{back}\n{out}"))


def _held_key_ids(settings: Settings) -> set[bytes]:
    """The keys that the store's subjects have; none where there is no store yet."""
    url = settings.effective_database_url
    file = file_of(url)
    if file is not None and not is_there(file):
        return set()
    engine = open_engine(url)
    try:
        has_tables = version_of_tables(engine) is not None
    finally:
        engine.dispose()
    if not has_tables:
        return set()
    with opened_for_reading(settings) as (_, session):
        return {key_id for key_id in session.scalars(select(SubjectRow.key_id)) if key_id is not None}


def _require_service_with_vault(settings: Settings) -> None:
    """Refuse to encrypt under a service that could not read it.

    Raises: VaultError: a service serves, and there is no key store yet.
    """
    file = file_of(settings.effective_key_database_url)
    if file is not None and not is_there(file) and is_owned(settings.data_dir):
        raise VaultError(
            "The service that runs has no vault: it could not read what is encrypted.",
            value=settings.data_dir,
            remedy="Restart it with MATCHKA_MASTER_KEY_FILE, then run this again.",
        )


def _show_status(console: Console, answer: VaultStatus) -> None:
    table = Table("tenant", "key", "subjects", "current")
    for key in answer.tenant_keys:
        table.add_row(key.tenant, str(key.number), str(key.subjects), "yes" if key.is_current else "no")
    console.print(table)
    opened = ", ".join(f"{name} ({count} tenant keys)" for name, count in sorted(answer.masters.items()))
    say(console, f"master key {answer.master}; the key store is opened by {opened or 'none yet'}")
    say(console, f"{answer.subjects} subjects, {answer.in_clear} in clear")
    if answer.without_key:
        say(console, f"{answer.without_key} subjects of an older copy were deleted since: nothing opens them")
    if answer.unused_keys:
        say(console, f"{answer.unused_keys} keys belong to nobody in this store")
    if answer.erasures_waiting:
        say(console, f"{answer.erasures_waiting} keys of deleted subjects are still to be destroyed")
