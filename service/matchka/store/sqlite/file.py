"""An SQLite file: how a new one begins; WAL mode, full synchronisation and secure deletion for each connection."""

import sqlite3
from pathlib import Path
from typing import Final

from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from matchka.errors import StoreError
from matchka.runtime.atomic_file import put_in_place

BUSY_TIMEOUT_MS: Final = 10_000  # a writer waits for another rather than fail


def begin_file(path: Path) -> None:
    """Make a new database's file, or refuse one that has been emptied.

    SQLite takes a file of no bytes for a new database: one that was cut to nothing would be served as an empty gallery.
    So a new file gets its name only when it has its first page, and one without a page is never a new one.

    Raises: StoreError: the file is empty, or cannot be made.
    """
    try:
        if not path.exists():
            begun = path.with_name(f"{path.name}.new")
            begun.unlink(missing_ok=True)  # of a process that was killed here
            connection = sqlite3.connect(begun)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.close()
            put_in_place(begun, path)
        is_empty = not path.stat().st_size
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            "The database cannot be opened.", value=error, remedy="Check MATCHKA_DATABASE_URL and its folder's rights."
        ) from error
    if is_empty:
        raise StoreError(
            "The database file is empty: what it held was cut off.",
            value=path,
            remedy="Restore a backup; or remove the file to begin with nobody enrolled.",
        )


def configure_connection(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    """Set what SQLite forgets when a connection ends."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # an acknowledged enrolment survives a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA secure_delete=ON")  # deleted templates are overwritten, not only unlinked
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.close()
