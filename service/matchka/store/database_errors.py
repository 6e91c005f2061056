"""Errors of a database driver -> named errors with a remedy; all others stay as they are."""

from typing import Final

from sqlalchemy.exc import DBAPIError

from matchka.errors import MatchkaError, StorageDamagedError, StorageFailedError, StorageFullError

# SQLite's result codes; the low byte names the kind (https://sqlite.org/rescode.html)
BUSY: Final = 5
LOCKED: Final = 6
READONLY: Final = 8
IOERR: Final = 10
CORRUPT: Final = 11
FULL: Final = 13
CANTOPEN: Final = 14
NOTADB: Final = 26
# Writing or growing a file failed for another reason than ENOSPC: a quota, or a limit on the size of files.
IOERR_OF_WRITING: Final = {778, 1546, 4874}  # IOERR_WRITE, IOERR_TRUNCATE, IOERR_SHMSIZE
POSTGRESQL_FULL: Final = ("53100",)  # disk_full
POSTGRESQL_UNREACHABLE: Final = ("08", "57P", "53", "25006", "58")  # connection, shutdown, resources, read only, I/O
POSTGRESQL_DAMAGED: Final = ("XX001", "XX002")  # data_corrupted, index_corrupted


def as_matchka_error(error: Exception) -> MatchkaError | None:
    """The error for a database that is full, damaged or unavailable; None for a bug of the program."""
    if not isinstance(error, DBAPIError):
        return None
    code: int | None = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return _of_sqlite(code, str(getattr(error.orig, "sqlite_errorname", code)))
    return _of_postgresql(str(getattr(error.orig, "sqlstate", None) or ""), error.connection_invalidated)


def _of_sqlite(code: int, name: str) -> MatchkaError | None:
    kind = code & 0xFF
    if kind == FULL or code in IOERR_OF_WRITING:
        return _full(name)
    if kind in (CORRUPT, NOTADB):
        return _damaged(name)
    if kind in (BUSY, LOCKED, READONLY, IOERR, CANTOPEN):
        return _failed(name)
    return None


def _of_postgresql(state: str, is_cut_off: bool) -> MatchkaError | None:
    if state in POSTGRESQL_FULL:
        return _full(state)
    if state in POSTGRESQL_DAMAGED:
        return _damaged(state)
    if state.startswith(POSTGRESQL_UNREACHABLE) or is_cut_off:
        return _failed(state)
    return None


def _full(value: str) -> StorageFullError:
    return StorageFullError(
        "The database cannot be written: the disk, or what may be used of it, is full. Nothing was stored.",
        value=value,
        remedy="Make room where MATCHKA_DATA_DIR is, and try again; the service needs no restart.",
    )


def _damaged(value: str) -> StorageDamagedError:
    return StorageDamagedError(
        "The database file is damaged.",
        value=value,
        remedy="Check the disk, and restore a backup into a new data folder.",
    )


def _failed(value: str) -> StorageFailedError:
    return StorageFailedError(
        "The database cannot be read or written now.",
        value=value,
        remedy="Check the disk and the rights of MATCHKA_DATA_DIR, or the database server, and try again.",
    )
