"""`matchka keys`: the API keys in a data folder or database, beside a running service as well."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from sqlalchemy.exc import SQLAlchemyError

from matchka.cli.gallery.gallery_commands import private_settings, require_store
from matchka.cli.output.report import Report, reporting, said, say
from matchka.errors import StoreError
from matchka.settings import Settings
from matchka.store.database_errors import as_matchka_error
from matchka.store.engine import file_of
from matchka.store.keys.keys import CEILINGS, Keys, NewKey
from matchka.store.keys.records import DEFAULT_MAX_FMR, DEFAULT_MAX_FPIR, DEFAULT_TENANT, ApiKey, Ceilings, KeySpec
from matchka.store.keys.scopes import DEFAULT_SCOPES, Scope, read_scopes, write_scopes
from matchka.store.sqlite.backup import is_there
from matchka.store.store import opened_store

KeyId = Annotated[str, typer.Argument(help="The key's id, as `matchka keys list` shows it.")]

key_commands = typer.Typer(no_args_is_help=True, help="Make, list, revoke and rotate API keys.", add_completion=False)


@contextmanager
def opened_keys(may_be_new: bool = False) -> Iterator[tuple[Keys, Settings]]:
    """The keys of the data folder or database of the settings.

    Args: may_be_new: make the database where there is none.

    Raises: StoreError: there is none, or it cannot be changed.
    """
    with private_settings() as settings:
        if not may_be_new:
            require_store(settings)
        else:
            _tell_new(settings)
        try:
            with opened_store(settings.effective_database_url, is_audited=settings.audit.enabled) as store:
                yield store.keys, settings
        except SQLAlchemyError as error:
            known = as_matchka_error(error)
            remedy = known.remedy if known else "Check MATCHKA_DATABASE_URL."
            raise StoreError("The database cannot be changed.", value=error, remedy=remedy) from error


def _tell_new(settings: Settings) -> None:
    """Say where a store is made: a service that uses another one will not know the key."""
    file = file_of(settings.effective_database_url)
    if file is None or is_there(file):
        return
    if settings.database_url is None:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    told = f"A new store is made, {file}: if the service has another, set MATCHKA_DATA_DIR to its folder."
    say(Console(stderr=True), told, "yellow")


@key_commands.command()
@reporting
def create(
    name: Annotated[str, typer.Argument(help="For people: who uses it, and for what.")],
    scopes: Annotated[str, typer.Option(help=f"Separated by commas, or `all`; of {', '.join(Scope)}.")] = ",".join(
        write_scopes(DEFAULT_SCOPES).split()
    ),
    tenant: Annotated[str, typer.Option(help="Whose subjects it sees.")] = DEFAULT_TENANT,
    expires_in_days: Annotated[float | None, typer.Option(help="Days until it expires; never by default.")] = None,
    max_fmr: Annotated[float, typer.Option(help="Highest max_fmr of its calls; 1 bounds nothing.")] = DEFAULT_MAX_FMR,
    max_fpir: Annotated[
        float, typer.Option(help="Highest max_fpir of its calls; 1 bounds nothing.")
    ] = DEFAULT_MAX_FPIR,
    requests_per_s: Annotated[float | None, typer.Option(help="Most requests a second.")] = None,
    max_subjects: Annotated[int | None, typer.Option(help="Subjects of the tenant, above which none is new.")] = None,
    max_templates: Annotated[int | None, typer.Option(help="Most templates of a subject.")] = None,
) -> Report:
    """Make a key and print it, once. It is in force within a second, where a service runs as well."""
    with opened_keys(may_be_new=True) as (keys, settings):
        spec = KeySpec(
            name,
            tenant,
            read_scopes(scopes),
            Ceilings(max_fmr, max_fpir, requests_per_s, max_subjects, max_templates),
            None if expires_in_days is None else timedelta(days=expires_in_days),
        )
        was_keyless = settings.api_key is None and not keys.read().revision
        made = keys.create(spec)
    if was_keyless:
        Console(stderr=True).print(
            "This is the first key: from now on callers without one are refused (401), those on this machine as well.",
            style="yellow",
            highlight=False,
            soft_wrap=True,
        )
    return _report_new(made)


@key_commands.command("list")
@reporting
def list_keys(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's keys.")] = None,
) -> Report:
    """List the keys, without their secrets."""
    with opened_keys() as (keys, _):
        found, now = keys.list_keys(tenant), keys.read().read_at
    return Report([described(key) for key in found], lambda console: _show_keys(console, found, now))


def _show_keys(plain: Console, found: Sequence[ApiKey], now: datetime) -> None:
    console = Console(file=plain.file, highlight=False, soft_wrap=True)
    for key in found:
        console.print(f"[bold]{key.key_id}[/] {escape(key.name)}, {_state(key, now)}")
        bounds = [f"{name} {value:g}" for name in CEILINGS if (value := getattr(key.ceilings, name)) is not None]
        console.print(f"  tenant {escape(key.tenant)}: {write_scopes(key.scopes)}")
        console.print(f"  at most {', '.join(bounds)}" if bounds else "  no ceilings")
        console.print(f"  created {_shown(key.created_at)}, last used {_shown(key.last_used_at)}")


@key_commands.command()
@reporting
def revoke(key_id: KeyId) -> Report:
    """Take a key out of force; it opens nothing any more within a second."""
    with opened_keys() as (keys, _):
        key = keys.revoke(key_id)
    return Report(described(key), said(f"revoked {key.key_id} ({key.name})"))


@key_commands.command()
@reporting
def rotate(
    key_id: KeyId,
    overlap_s: Annotated[float, typer.Option(help="Seconds for which the old key stays in force.", min=0)] = 0.0,
) -> Report:
    """Make a key of the same rights in the place of one, and print it, once."""
    with opened_keys() as (keys, _):
        made = keys.rotate(key_id, timedelta(seconds=overlap_s))
    return _report_new(made)


def described(key: ApiKey) -> dict[str, Any]:
    """A key as JSON has it."""
    times = {name: getattr(key, name) for name in ("created_at", "expires_at", "revoked_at", "last_used_at")}
    return {
        "key_id": key.key_id,
        "name": key.name,
        "tenant": key.tenant,
        "scopes": write_scopes(key.scopes).split(),
        **{name: getattr(key.ceilings, name) for name in CEILINGS},
        **{name: when and when.isoformat() for name, when in times.items()},
        "replaced_by": key.replaced_by,
    }


def _report_new(made: NewKey) -> Report:
    """For people the secret alone on the output, so that a script can take it; the rest beside it."""
    return Report({"key": made.secret, **described(made.key)}, lambda console: _show_new(console, made))


def _show_new(console: Console, made: NewKey) -> None:
    say(console, made.secret)
    key = made.key
    rights = f"key {key.key_id} ({key.name}) of tenant {key.tenant}: {write_scopes(key.scopes)}"
    say(Console(stderr=True), f"{rights}\nIt is shown only now.")


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return f"revoked {_shown(key.revoked_at)}"
    if key.expires_at is None:
        return "in force"
    return f"{'in force until' if key.is_in_force(now) else 'expired'} {_shown(key.expires_at)}"


def _shown(when: datetime | None) -> str:
    return "never" if when is None else f"{when:%Y-%m-%d %H:%M}"
