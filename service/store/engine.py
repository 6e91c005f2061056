"""Opening the database: SQLite in WAL mode with full synchronisation and secure deletion, or another by its URL."""

from typing import Final

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from service.errors import StoreError

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
        if engine.url.database in (None, "", ":memory:"):
            raise StoreError(
                "A database in memory would lose every enrolment.", value=url, remedy="Name a file in the database URL."
            )
        event.listen(engine, "connect", _configure_sqlite)
    return engine


def _configure_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # an acknowledged enrolment survives a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA secure_delete=ON")  # deleted templates are overwritten, not only unlinked
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.close()
