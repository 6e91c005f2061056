"""What the store asks of the database it lies in: one implementation for each, in sqlite/ and postgres/."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import URL, ColumnElement, Connection, Engine, Select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from matchka.settings import DatabaseSettings
from matchka.store.schema import Base


class Trouble(Enum):
    """What is wrong with a database, where its driver's error is no bug of the program."""

    FULL = auto()
    DAMAGED = auto()
    READ_ONLY = auto()
    UNAVAILABLE = auto()


@dataclass(frozen=True)
class Limits:
    """How many connections there are to a database server, and how long anything waits for it.

    Attributes:
        pool_size: connections kept.
        pool_wait_s: longest wait for one of them.
        connect_s: longest time to make one, whole seconds.
        statement_s: longest time of a statement; None: however long it takes, as of a command that reads everything.
    """

    pool_size: int = 16
    pool_wait_s: float = 5.0
    connect_s: int = 5
    statement_s: float | None = None

    @classmethod
    def of(cls, settings: DatabaseSettings) -> "Limits":
        """Those of a service."""
        return cls(
            settings.pool_size, settings.pool_timeout_s, settings.connect_timeout_s, settings.statement_timeout_s
        )


UNHURRIED: Final = Limits()


class Erasure(Protocol):
    """Leaves nothing of what was deleted in the files beside the tables."""

    @property
    def waiting(self) -> int:
        """Requests not yet carried out."""
        ...

    def request(self) -> None:
        """Erase what was deleted and committed so far, in the background."""
        ...

    def wait(self, timeout_s: float) -> bool:
        """Wait until all requests before this call are done; False if that takes longer than `timeout_s` seconds."""
        ...

    def close(self) -> None:
        """Make one last attempt and stop."""
        ...


class Hints(Protocol):
    """Tells of changes sooner than looking at the feed does. They may be lost: only looking is sure."""

    def start(self, heard: Callable[[], None]) -> None:
        """Begin to call `heard`, from a thread of its own, whenever another process tells of changes."""
        ...

    def tell(self) -> None:
        """Tell the others that there are changes, if that can be done now."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


class Watch(Protocol):
    """Tells at a hundredth of the cost of a look at the tables whether a look would find anything."""

    def mark(self) -> int | None:
        """The same as before only where nothing was committed in between; None: that is not known."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


class Database(Protocol):
    """A kind of database."""

    @property
    def now(self) -> str:
        """SQL: its time, as its columns write times."""
        ...

    @property
    def transaction(self) -> str:
        """SQL: the number of the transaction that writes; what commits later has no number seen as finished before."""
        ...

    @property
    def snapshot(self) -> str:
        """SQL: which transactions a statement sees, in the form of matchka.store.feed.snapshot.Snapshot.parse()."""
        ...

    @property
    def unseen(self) -> str:
        """SQL: a number above that of every transaction of this database that the statement sees."""
        ...

    @property
    def origin(self) -> str:
        """SQL: a text that is another where numbers of transactions may be given again to others."""
        ...

    def most_writers(self, limits: Limits) -> int:
        """How many transactions of one process may write templates at once."""
        ...

    def watch(self, engine: Engine) -> Watch:
        """What tells whether anything was committed; the caller closes it."""
        ...

    def hints(self, engine: Engine) -> Hints:
        """What tells other processes of changes, and is told by them; the caller starts and closes it."""
        ...

    def open(self, url: URL, limits: Limits) -> Engine:
        """An engine whose connections are set up; a file is opened, a server is not asked yet.

        Raises: StoreError: the URL names no database that could keep anything, or its driver is not installed.
        """
        ...

    def file_of(self, url: URL) -> Path | None:
        """The file that holds it all; None where a server does."""
        ...

    def reading(self, engine: Engine) -> AbstractContextManager[Connection]:
        """A connection that reads one unchanging state, whatever others write meanwhile."""
        ...

    def unhurried(self, connection: Connection) -> None:
        """Let the statements of this transaction take as long as they may."""
        ...

    def begin_writing(self, connection: Connection) -> None:
        """Begin a transaction in which what is read with FOR UPDATE is not changed by others before it is written."""
        ...

    def lock(self, connection: Connection, number: int) -> None:
        """Begin a transaction that waits until no other one holds the number, and holds it to its end."""
        ...

    def lock_name(self, session: Session, name: str) -> None:
        """Wait until no other transaction holds this name, and hold it to the end of this one."""
        ...

    def alone(self, engine: Engine, name: str, number: int) -> AbstractContextManager[bool]:
        """Whether this process is the only one at something until the end of the block; one that is killed lets go.

        Args:
            engine: of the database.
            name: of what is done.
            number: the same, for a database that locks numbers.
        """
        ...

    def columns(
        self, engine: Engine, query: Select[*tuple[Any, ...]], key: ColumnElement[int], at_once: int
    ) -> Iterator[Sequence[Sequence[Any]]]:
        """All rows of a query in the order of a key, some at once and each column by itself, the fastest way.

        What is written meanwhile may be among them, or not.

        Args:
            engine: of the database.
            query: of columns that are whole numbers, bytes or texts.
            key: one of them, a whole number that no two rows share.
            at_once: rows.
        """
        ...

    def erasure(self, engine: Engine) -> Erasure:
        """What erases deleted bytes; the caller closes it."""
        ...

    def erase_free_space(self, engine: Engine, tables: Sequence[type[Base]]) -> None:
        """Write tables anew, without what was changed or deleted; others cannot write meanwhile."""
        ...

    def broken_pages(self, connection: Connection, whole_below_bytes: float) -> Iterator[str]:
        """What is wrong with its pages and indexes, where it does not look itself.

        Args:
            connection: to it.
            whole_below_bytes: of a database that is larger only the table of subjects is compared.
        """
        ...

    def trouble_of(self, error: DBAPIError) -> tuple[Trouble, str] | None:
        """What is wrong, with the driver's name for it; None for any other error, one of another driver say."""
        ...

    def is_conflict(self, error: DBAPIError) -> bool:
        """Whether a transaction failed only because of another one at the same moment, so that it may be repeated."""
        ...
