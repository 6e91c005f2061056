"""What a store that is replaced leaves: its deletions and expiries, its API keys, keys to be destroyed."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from matchka.errors import RestoreRefusedError, StoreError
from matchka.store.deletions import Deletion, deletions_in, horizon_in
from matchka.store.engine import open_engine, reading
from matchka.store.keys.copies import FIRST_WITH_KEYS, KeyCopy, keys_in
from matchka.store.migrations.migrate import version_of_tables
from matchka.store.rights.expiries import FIRST_WITH_EXPIRIES, Expiry, expiries_in
from matchka.store.vault.subject_keys import finish_erasures, require_key_store_of_erasures
from matchka.store.vault.vault import Vault

FIRST_WITH_DELETIONS: Final = 2  # tables of version 1 noted no deletions
FIRST_WITH_HASHES: Final = 9  # of subjects in the deletion log; and those that know how far back it goes
UNREADABLE: Final = (SQLAlchemyError, StoreError, UnicodeError)  # the last where a damaged file's text is none

T = TypeVar("T")


@dataclass(frozen=True)
class LeftBehind:
    """What outlives a store that is replaced.

    Attributes:
        deletions: its deletion log.
        horizon: up to when deletions may be missing there because of their age; None where none is.
        keys: API keys and failed attempts; None where there are none, or they cannot be read.
        expiries: when its subjects expire.
    """

    deletions: tuple[Deletion, ...] = ()
    horizon: datetime | None = None
    keys: KeyCopy | None = None
    expiries: tuple[Expiry, ...] = ()


def left_behind(url: str, *, may_lose_deletions: bool) -> LeftBehind:
    """Read what is left of a store.

    Args:
        url: of its database.
        may_lose_deletions: whether a log that cannot be read is done without.

    Raises: RestoreRefusedError: the deletion log cannot be read, and is not to be lost.
    """
    try:
        deletions = _deletions_of(url)
    except UNREADABLE as error:
        if not may_lose_deletions:
            raise RestoreRefusedError(
                "The deletion log of the store to be replaced cannot be read: what was deleted since the backup would "
                "come back.",
                value=error,
                remedy="Name a copy of it with --deletions, or accept that with --resurrect.",
            ) from error
        deletions = []
    horizon = _readable(url, FIRST_WITH_HASHES, horizon_in)
    keys = _readable(url, FIRST_WITH_KEYS, keys_in)
    return LeftBehind(tuple(deletions), horizon, keys, _readable(url, FIRST_WITH_EXPIRIES, expiries_in) or ())


def finish_erasures_of(url: str, vault: Vault) -> None:
    """Destroy the keys of whoever was deleted from the store that is replaced, when a process was killed at it.

    Raises: VaultLockedError: they are in another key store, and would never be destroyed.
    """
    engine = open_engine(url)
    try:
        require_key_store_of_erasures(engine, vault)
        finish_erasures(engine, vault)
    except SQLAlchemyError:
        pass  # a damaged store, or one of tables from before there were keys
    finally:
        engine.dispose()


def _deletions_of(url: str) -> list[Deletion]:
    found = _read(url, FIRST_WITH_HASHES, lambda session: list(deletions_in(session)))
    if found is None:
        older = partial(deletions_in, has_hashes=False)
        found = _read(url, FIRST_WITH_DELETIONS, lambda session: list(older(session)))
    return found or []


def _readable(url: str, first_version: int, read: Callable[[Session], T]) -> T | None:
    """What is read from a store; None where it cannot be, or its tables are older."""
    try:
        return _read(url, first_version, read)
    except UNREADABLE:
        return None


def _read(url: str, first_version: int, read: Callable[[Session], T]) -> T | None:
    """What is read from a store; None where its tables are older than what is asked for."""
    engine = open_engine(url)
    try:
        version = version_of_tables(engine)
        if version is None or version < first_version:
            return None
        with reading(engine) as session:
            return read(session)
    finally:
        engine.dispose()
