"""SQLite as the store's database: a file that one service owns, with one writer at a time."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout
from sqlalchemy import URL, ColumnElement, Connection, Engine, Select, create_engine, event
from sqlalchemy.exc import DatabaseError, DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import PoolProxiedConnection

from matchka.errors import StoreError
from matchka.store.connections.pool import MeasuredPool
from matchka.store.database import Limits, Trouble
from matchka.store.schema import Base, SubjectRow
from matchka.store.sqlite.columns import joined, joined_columns, kinds_of
from matchka.store.sqlite.file import begin_file, configure_connection
from matchka.store.sqlite.wal import WalTruncation

# SQLite's result codes; the low byte names the kind (https://sqlite.org/rescode.html)
TROUBLES: Final = {
    5: Trouble.UNAVAILABLE,  # BUSY
    6: Trouble.UNAVAILABLE,  # LOCKED
    8: Trouble.READ_ONLY,
    10: Trouble.UNAVAILABLE,  # IOERR
    11: Trouble.DAMAGED,  # CORRUPT
    13: Trouble.FULL,
    14: Trouble.UNAVAILABLE,  # CANTOPEN
    26: Trouble.DAMAGED,  # NOTADB
}
# Writing or growing a file failed for another reason than ENOSPC: a quota, or a limit on the size of files.
IOERR_OF_WRITING: Final = {778, 1546, 4874}  # IOERR_WRITE, IOERR_TRUNCATE, IOERR_SHMSIZE

# A count of the feed's rows, in the order of the commits: there is one writer, and a number is never given twice.
NEXT: Final = "(SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'changes')"
UNIQUE: Final = (1555, 2067)  # CONSTRAINT_PRIMARYKEY, CONSTRAINT_UNIQUE


class NoHints:
    """Who is in the same process is told without it, and who looks at a file finds a change as soon as it is told."""

    def start(self, heard: Callable[[], None]) -> None:
        """Nobody will tell."""

    def tell(self) -> None:
        """Nobody listens."""

    def close(self) -> None:
        """There is nothing to stop."""


class FileWatch:
    """SQLite's own count of what others have committed, as one connection sees it.

    Args:
        engine: of the file; one of its connections is kept.
        path: of the file.
    """

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine = engine
        self._path = path
        self._connection: PoolProxiedConnection | None = None
        self._file: tuple[int, int] | None = None  # device and number of the file that the connection reads

    def mark(self) -> int | None:
        """The count; not known where the file cannot be read, or another has its name: a look may tell why."""
        try:
            status = self._path.stat()
            if self._connection is None:
                self._connection, self._file = self._engine.raw_connection(), (status.st_dev, status.st_ino)
            if self._file != (status.st_dev, status.st_ino):
                return None
            cursor = self._connection.cursor()
            cursor.execute("PRAGMA data_version")
            ((count,),) = (
                cursor.fetchall()
            )  # to the end: a statement that is left open keeps the log from being emptied
        except (OSError, sqlite3.Error, SQLAlchemyError):
            return None
        return int(count)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


class Sqlite:
    """A file."""

    now = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"  # milliseconds, as text of the length that SQLAlchemy writes
    transaction = NEXT
    snapshot = f"(SELECT '0:' || {NEXT} || ':')"
    unseen = NEXT
    origin = "''"

    def most_writers(self, limits: Limits) -> int:  # noqa: ARG002 - of the protocol
        """One: the others would ask again and again, in no order, and for longer than their requests last."""
        return 1

    def watch(self, engine: Engine) -> FileWatch:
        """By a connection."""
        return FileWatch(engine, Path(self.file_of(engine.url) or ""))

    def hints(self, engine: Engine) -> NoHints:  # noqa: ARG002 - of the protocol
        """None."""
        return NoHints()

    def open(self, url: URL, limits: Limits) -> Engine:  # noqa: ARG002 - nothing is waited for but other writers
        """Open a file, which is made where it is missing."""
        name = url.database
        if not name or name == ":memory:":
            raise StoreError(
                "A database in memory would lose every enrolment.",
                value=url.render_as_string(),
                remedy="Name a file in the database URL.",
            )
        if not name.startswith("file:"):
            begin_file(Path(name))
        engine = create_engine(
            url, hide_parameters=True, poolclass=MeasuredPool
        )  # an error that is logged has no subject ids
        event.listen(engine, "connect", configure_connection)
        return engine

    def file_of(self, url: URL) -> Path | None:
        """The file, which SQLite's own kind of address may name, too: `sqlite:///file:/path?uri=true`."""
        name = url.database or ""
        if name.startswith("file:"):
            name = unquote(urlsplit(name).path)
        return Path(name) if name else None

    @contextmanager
    def reading(self, engine: Engine) -> Iterator[Connection]:
        """Read one state, which keeps the write-ahead log from being emptied until the end of the block."""
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")  # Python's driver begins before writes only
            yield connection

    def unhurried(self, connection: Connection) -> None:
        """Statements take as long as they may anyway."""

    def begin_writing(self, connection: Connection) -> None:
        """Be the one writer; Python's driver would begin before rows are written, not before tables are made."""
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def lock(self, connection: Connection, number: int) -> None:  # noqa: ARG002 - there is one writer
        """Be the one writer."""
        self.begin_writing(connection)

    def lock_name(self, session: Session, name: str) -> None:
        """There is one writer anyway."""

    @contextmanager
    def alone(self, engine: Engine, name: str, number: int) -> Iterator[bool]:  # noqa: ARG002 - of the protocol
        """Hold a lock on a file beside the database's."""
        file = Path(str(engine.url.database))
        lock = FileLock(file.with_name(f"{file.name}.{name}"), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def columns(
        self, engine: Engine, query: Select[*tuple[Any, ...]], key: ColumnElement[int], at_once: int
    ) -> Iterator[Sequence[Sequence[Any]]]:
        """Joined by SQLite: the driver would take the interpreter's lock for each row, and make objects of it."""
        statement = joined(query, key, at_once).compile(engine, compile_kwargs={"literal_binds": True})
        connection = engine.raw_connection()
        try:
            yield from joined_columns(connection.cursor(), str(statement), kinds_of(query))
        except sqlite3.Error as error:
            raise DatabaseError(str(statement), None, error) from error
        finally:
            connection.close()

    def erasure(self, engine: Engine) -> WalTruncation:
        """Truncation of the write-ahead log."""
        return WalTruncation(engine)

    def erase_free_space(self, engine: Engine, tables: Sequence[type[Base]]) -> None:  # noqa: ARG002 - it is one file
        """Write the file anew."""
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM")

    def broken_pages(self, connection: Connection, whole_below_bytes: float) -> Iterator[str]:
        """Compare the tables with their indexes: pages have no checksums."""
        size = connection.exec_driver_sql("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        table = "" if size.scalar_one() <= whole_below_bytes else f"('{SubjectRow.__tablename__}')"
        for (line,) in connection.exec_driver_sql(f"PRAGMA integrity_check{table}"):
            if line != "ok":
                yield str(line)

    def trouble_of(self, error: DBAPIError) -> tuple[Trouble, str] | None:
        """By the result code."""
        code: int | None = getattr(error.orig, "sqlite_errorcode", None)
        if code is None:
            return None
        trouble = Trouble.FULL if code in IOERR_OF_WRITING else TROUBLES.get(code & 0xFF)
        return None if trouble is None else (trouble, str(getattr(error.orig, "sqlite_errorname", code)))

    def is_conflict(self, error: DBAPIError) -> bool:
        """Two that make the same row, when neither of them was the one writer yet as it looked."""
        return getattr(error.orig, "sqlite_errorcode", None) in UNIQUE
