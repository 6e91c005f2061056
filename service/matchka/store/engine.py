"""Opening the database by its URL, reading one state of it, and changing its tables."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection, Dialect, Engine, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from matchka.errors import StoreError
from matchka.store.database import UNHURRIED, Database, Limits
from matchka.store.postgres.database import Postgres
from matchka.store.sqlite.database import Sqlite

TABLES_LOCK: Final = 0x6D6174  # any number that no other program of the server locks
DATABASES: Final[Mapping[str, Database]] = {"sqlite": Sqlite(), "postgresql": Postgres()}  # by SQLAlchemy's names


def database_of(bound: Engine | Connection | Dialect) -> Database:
    """The kind of a database that was opened."""
    dialect = bound if isinstance(bound, Dialect) else bound.dialect
    return DATABASES[dialect.name]


def open_engine(url: str, limits: Limits = UNHURRIED) -> Engine:
    """Open a database.

    Args:
        url: an SQLAlchemy URL of a file or a server; a database in memory is refused.
        limits: of the waits for a server.

    Raises: StoreError: the URL cannot be used.
    """
    parsed = _parse(url)
    try:
        return _database_at(parsed).open(parsed, limits)
    except ImportError as error:
        raise StoreError(
            "The database's driver is not installed.",
            value=error,
            remedy="Install the extra: pip install 'matchka[postgres]'.",
        ) from error
    except SQLAlchemyError as error:
        raise StoreError(
            "The database URL cannot be used.", value=error, remedy="Check MATCHKA_DATABASE_URL."
        ) from error


def file_of(url: str) -> Path | None:
    """The file of an SQLite database, or None for any other.

    >>> file_of("sqlite:///data/matchka.sqlite"), file_of("postgresql+psycopg://host/db")
    (PosixPath('data/matchka.sqlite'), None)
    >>> file_of("sqlite:///file:/data/matchka.sqlite?uri=true")
    PosixPath('/data/matchka.sqlite')
    """
    parsed = _parse(url)
    return _database_at(parsed).file_of(parsed)


def backend_of(url: str) -> str:
    """The kind of database that a URL names: a key of DATABASES.

    Raises: StoreError: it names none.
    """
    parsed = _parse(url)
    _database_at(parsed)
    return parsed.get_backend_name()


def _parse(url: str) -> URL:
    """Take a URL apart; nothing of it is shown where that fails: any part may be of a password."""
    try:
        parsed = make_url(url)
        is_cut = "@" in (parsed.host or "")  # then the password ended at an @ of its own, and the rest is the host
    except (SQLAlchemyError, ValueError):  # the latter where the port is no number
        is_cut = True
    if is_cut:
        raise StoreError(
            "The database URL cannot be taken apart.",
            remedy="Check MATCHKA_DATABASE_URL; in a user's name and password write @ as %40, : as %3A and / as %2F.",
        ) from None
    return parsed


def _database_at(url: URL) -> Database:
    name = url.get_backend_name()
    if name not in DATABASES:
        raise StoreError(
            f"The database can be one of {', '.join(DATABASES)}.", value=name, remedy="Check MATCHKA_DATABASE_URL."
        )
    return DATABASES[name]


@contextmanager
def disposed_on_failure(engine: Engine) -> Iterator[None]:
    """Close an engine's connections where what it was opened for does not come about."""
    try:
        yield
    except BaseException:
        engine.dispose()
        raise


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """Read one unchanging state of the database, whatever others write meanwhile.

    On SQLite this keeps the write-ahead log from being emptied until the end of the block.
    """
    with database_of(engine).reading(engine) as connection, Session(connection) as session:
        yield session


@contextmanager
def changing_tables(engine: Engine, lock: int = TABLES_LOCK) -> Iterator[Connection]:
    """A transaction that makes or changes tables, whole or not at all, while no other process does so; however long.

    Args:
        engine: of the database.
        lock: the number that is held on PostgreSQL: who holds another one is not waited for.
    """
    with engine.begin() as connection:
        database = database_of(engine)
        database.unhurried(connection)
        database.lock(connection, lock)
        yield connection


def lock_name(session: Session, name: str) -> None:
    """Wait until no other transaction holds this name, and hold it to the end of this one: for rows not there yet."""
    database_of(session.get_bind()).lock_name(session, name)
