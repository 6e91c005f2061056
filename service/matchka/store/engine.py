"""Opening the database: SQLite in WAL mode with full synchronisation and secure deletion, or another by its URL."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from matchka.errors import StoreError

TABLES_LOCK: Final = 0x6D6174  # any number that no other program of the server locks
BUSY_TIMEOUT_MS: Final = 10_000  # a writer waits for another rather than fail


def open_engine(url: str) -> Engine:
    """Open a database.

    Args: url: an SQLAlchemy URL of a file or a server; a database in memory is refused.

    Raises: StoreError: the URL cannot be used.
    """
    try:
        engine = create_engine(url)
    except (SQLAlchemyError, ImportError) as error:
        raise StoreError(
            "The database URL cannot be used.", value=error, remedy="Check MATCHKA_DATABASE_URL and its driver."
        ) from error
    if engine.dialect.name == "sqlite":
        name = engine.url.database
        if not name or name == ":memory:":
            raise StoreError(
                "A database in memory would lose every enrolment.", value=url, remedy="Name a file in the database URL."
            )
        if not name.startswith("file:"):
            _begin_file(Path(name))
        event.listen(engine, "connect", _configure_sqlite)
    return engine


def _begin_file(path: Path) -> None:
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
            begun.rename(path)
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


def file_of(url: str) -> Path | None:
    """The file of an SQLite database, or None for any other.

    >>> file_of("sqlite:///data/matchka.sqlite"), file_of("postgresql+psycopg://host/db")
    (PosixPath('data/matchka.sqlite'), None)
    """
    try:
        parsed = make_url(url)
    except SQLAlchemyError as error:
        raise StoreError(
            "The database URL cannot be used.", value=error, remedy="Check MATCHKA_DATABASE_URL."
        ) from error
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """Read one unchanging state of the database, whatever others write meanwhile.

    On SQLite this keeps the write-ahead log from being emptied until the end of the block.
    """
    if engine.dialect.name != "sqlite":
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")  # Python's driver begins before writes only
        with Session(connection) as session:
            yield session


@contextmanager
def changing_tables(engine: Engine) -> Iterator[Connection]:
    """A transaction that makes or changes tables, whole or not at all, while no other process does so.

    SQLite: Python's driver begins before rows are written, not before tables are made, so the beginning is said.
    PostgreSQL: the lock is given back when the transaction ends.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        elif engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({TABLES_LOCK})")
        yield connection


def _configure_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # an acknowledged enrolment survives a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA secure_delete=ON")  # deleted templates are overwritten, not only unlinked
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.close()
