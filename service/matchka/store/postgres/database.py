"""PostgreSQL as the store's database: a server that several services share, whose writers lock rows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, Select, create_engine, text
from sqlalchemy.orm import Session

from matchka.store.database import Trouble
from matchka.store.schema import Base

# By the beginning of SQLSTATE, the longest that fits (https://www.postgresql.org/docs/current/errcodes-appendix.html)
TROUBLES: Final = {
    "53100": Trouble.FULL,
    "XX001": Trouble.DAMAGED,  # data_corrupted
    "XX002": Trouble.DAMAGED,  # index_corrupted
    "25006": Trouble.READ_ONLY,
    "08": Trouble.UNAVAILABLE,  # connection
    "53": Trouble.UNAVAILABLE,  # resources
    "57P": Trouble.UNAVAILABLE,  # shutdown
    "58": Trouble.UNAVAILABLE,  # input and output
}


class Nothing:
    """Deleted rows lie in no file of the service: the server's VACUUM and its logs' expiry are the operator's."""

    waiting = 0

    def request(self) -> None:
        """There is nothing to do."""

    def wait(self, timeout_s: float) -> bool:  # noqa: ARG002 - of the protocol
        """There is nothing to wait for."""
        return True

    def close(self) -> None:
        """There is nothing to stop."""


class Postgres:
    """A server."""

    now = "clock_timestamp()"

    def open(self, url: URL) -> Engine:
        """Prepare connections to a server, which is not asked yet."""
        return create_engine(url)

    def file_of(self, url: URL) -> Path | None:  # noqa: ARG002 - of the protocol
        """There is none that the service could see."""
        return None

    @contextmanager
    def reading(self, engine: Engine) -> Iterator[Connection]:
        """Read one snapshot."""
        with engine.execution_options(isolation_level="REPEATABLE READ").connect() as connection:
            yield connection

    def begin_writing(self, connection: Connection) -> None:
        """Rows are locked as they are read."""

    def lock(self, connection: Connection, number: int) -> None:
        """Hold an advisory lock, which is given back when the transaction ends."""
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({number})")

    def lock_name(self, session: Session, name: str) -> None:
        """Lock a number made of the name: two names that share one wait for each other, to no harm."""
        number = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), signed=True)
        session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})

    @contextmanager
    def alone(self, engine: Engine, name: str, number: int) -> Iterator[bool]:  # noqa: ARG002 - of the protocol
        """Hold an advisory lock of one connection."""
        with engine.connect() as connection:
            is_alone = bool(connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({number})").scalar_one())
            connection.commit()
            try:
                yield is_alone
            finally:
                if is_alone:
                    connection.exec_driver_sql(f"SELECT pg_advisory_unlock({number})")

    def rows(self, engine: Engine, query: Select[*tuple[Any, ...]], at_once: int) -> Iterator[Sequence[Sequence[Any]]]:
        """Through a cursor of the server's, so that not all rows are sent at once."""
        with engine.connect() as connection:
            yield from connection.execution_options(yield_per=at_once).execute(query).partitions()

    def erasure(self, engine: Engine) -> Nothing:  # noqa: ARG002 - of the protocol
        """Nothing to erase."""
        return Nothing()

    def erase_free_space(self, engine: Engine, tables: Sequence[type[Base]]) -> None:
        """Write the tables' files anew."""
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for table in tables:
                connection.exec_driver_sql(f"VACUUM FULL {table.__tablename__}")

    def broken_pages(self, connection: Connection, whole_below_bytes: float) -> Iterator[str]:  # noqa: ARG002
        """The server looks itself, where it was made with checksums: then reading a broken page fails."""
        yield from ()

    def trouble_of(self, error: BaseException) -> tuple[Trouble, str] | None:
        """By SQLSTATE."""
        state = str(getattr(error, "sqlstate", None) or "")
        fitting = [start for start in TROUBLES if state.startswith(start)]
        return (TROUBLES[max(fitting, key=len)], state) if fitting else None
