"""Opening the database by its URL, reading one state of it, and changing its tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from matchka.errors import StoreError
from matchka.store.sqlite.file import begin_file, configure_connection

TABLES_LOCK: Final = 0x6D6174  # any number that no other program of the server locks


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
            begin_file(Path(name))
        event.listen(engine, "connect", configure_connection)
    return engine


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
def changing_tables(engine: Engine, lock: int = TABLES_LOCK) -> Iterator[Connection]:
    """A transaction that makes or changes tables, whole or not at all, while no other process does so.

    SQLite: Python's driver begins before rows are written, not before tables are made, so the beginning is said.
    PostgreSQL: the lock is given back when the transaction ends.

    Args:
        engine: of the database.
        lock: PostgreSQL's advisory lock that is held: who holds another one is not waited for.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        elif engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock})")
        yield connection


def lock_name(session: Session, name: str) -> None:
    """Wait until no other transaction holds this name, and hold it to the end of this one: for rows not there yet.

    PostgreSQL locks a number: two names that share one wait for each other, to no harm. SQLite has one writer anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        number = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), signed=True)
        session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})
