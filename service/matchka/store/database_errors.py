"""Errors of a database driver -> named errors with a remedy; all others stay as they are."""

from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from matchka.errors import MatchkaError, StorageDamagedError, StorageFailedError, StorageFullError
from matchka.store.database import Trouble
from matchka.store.engine import DATABASES


def as_matchka_error(error: Exception) -> MatchkaError | None:
    """The error for a database that is full, damaged or unavailable; None for a bug of the program."""
    if isinstance(error, PoolTimeoutError):
        return _all_in_use(str(error))
    if not isinstance(error, DBAPIError) or error.orig is None:
        return None
    for database in DATABASES.values():
        found = database.trouble_of(error)
        if found is not None:
            trouble, name = found
            return _ERRORS[trouble](name)
    return _failed(type(error.orig).__name__) if error.connection_invalidated else None


def reason_of(error: Exception) -> str:
    """Why something failed, for the log: never in the words of a driver, which may quote a row."""
    known = error if isinstance(error, MatchkaError) else as_matchka_error(error)
    return type(error).__name__ if known is None else str(known)


def _full(value: str) -> StorageFullError:
    return StorageFullError(
        "The database cannot be written: the disk, or what may be used of it, is full. Nothing was stored.",
        value=value,
        remedy="Make room where MATCHKA_DATA_DIR or the database server is, and try again; nothing needs a restart.",
    )


def _damaged(value: str) -> StorageDamagedError:
    return StorageDamagedError(
        "The database file is damaged.",
        value=value,
        remedy="Check the disk, and restore a backup into a new data folder.",
    )


def _read_only(value: str) -> StorageFailedError:
    return StorageFailedError(
        "The database can be read only, and nothing was stored.",
        value=value,
        remedy="Check the rights of MATCHKA_DATA_DIR, or name the database server that may be written.",
    )


def _failed(value: str) -> StorageFailedError:
    return StorageFailedError(
        "The database cannot be read or written now.",
        value=value,
        remedy="Check the disk and the rights of MATCHKA_DATA_DIR, or the database server, and try again.",
    )


def _all_in_use(value: str) -> StorageFailedError:
    return StorageFailedError(
        "All connections to the database are in use.",
        value=value.partition("(")[0].strip(),
        remedy="Try again; if it lasts, check the database server, or raise MATCHKA_DATABASE__POOL_SIZE.",
    )


_ERRORS: Final[Mapping[Trouble, Callable[[str], MatchkaError]]] = {
    Trouble.FULL: _full,
    Trouble.DAMAGED: _damaged,
    Trouble.READ_ONLY: _read_only,
    Trouble.UNAVAILABLE: _failed,
}
