"""Connections to a PostgreSQL server that may be away, cut off or stopped: nothing waits for it without an end."""

import time
from collections.abc import Generator
from typing import Any, Final, TypeVar

from psycopg import Connection, OperationalError
from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from matchka.errors import StoreError
from matchka.store.database import Limits

OLDEST_SERVER: Final = 130_000  # pg_snapshot and xid8 came with 13
ENCODING: Final = "UTF8"
IDLE_S: Final = 1.0  # a connection that was used since is taken to be alive
PING_S: Final = 2.0
GRACE_S: Final = 1.0  # the server ends a statement itself, and says so, before the client gives up
RETURNED: Final = "returned"  # when a connection came back into the pool, monotonic seconds

T = TypeVar("T")


class BoundedConnection(Connection[Any]):
    """A connection that is closed when an answer takes longer than `answer_s` seconds; None: however long it takes.

    The server's own limit ends a statement that runs too long, and TCP's notices a machine that is gone. Neither
    notices a server that is stopped, or a proxy that takes what it is sent and passes nothing on.

    Attributes: is_unhurried: wait for longer while the server takes new connections.
    """

    answer_s: float | None = None
    is_unhurried: bool = False

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **options: Any) -> T:
        """Wait for the end of an exchange with the server.

        Raises: psycopg.OperationalError: it took too long.
        """
        return super().wait(gen if self.answer_s is None else self._bounded(gen, self.answer_s), *args, **options)

    def _bounded(self, exchange: Generator[Any, Any, T], answer_s: float) -> Generator[Any, Any, T]:
        """The same exchange; it is resumed every tenth of a second while there is nothing to read."""
        end = time.monotonic() + answer_s
        try:
            awaited = next(exchange)
            while True:
                ready = yield awaited
                if not ready and time.monotonic() > end and self.is_unhurried and self._server_answers():
                    end = time.monotonic() + answer_s
                elif not ready and time.monotonic() > end:
                    self.pgconn.finish()  # what comes later would be taken for the answer to something else
                    raise OperationalError(f"the server has not answered for {answer_s:g} s")
                awaited = exchange.send(ready)
        except StopIteration as ended:
            result: T = ended.value
            return result

    def _server_answers(self) -> bool:
        """Whether it takes another connection, within the time for that. (PQping would hold the interpreter's lock.)"""
        try:
            Connection.connect(self.info.dsn, password=self.info.password or None).close()
        except OperationalError:
            return False
        return True


def require_supported(version: int) -> None:
    """Refuse a server that lacks what the change feed reads: pg_current_snapshot() and its like.

    Args: version: as the server says it, 150004 for 15.4.

    Raises: StoreError: it is too old.
    """
    if version < OLDEST_SERVER:
        raise StoreError(
            f"The database server is older than PostgreSQL {OLDEST_SERVER // 10_000}.",
            value=f"{version // 10_000}.{version % 10_000}",
            remedy="Use a newer one: matchka is tested with 15.",
        )


def require_unicode(encoding: str | None) -> None:
    """Refuse a database that cannot hold every subject id: whoever has such a one could not be enrolled.

    Args: encoding: of the database, as the server names it; None where a pooler in between does not hand it on.

    Raises: StoreError: it is another than UTF8.
    """
    if encoding not in (None, ENCODING):
        raise StoreError(
            f"The database's encoding is not {ENCODING}, so that it cannot hold every name.",
            value=encoding,
            remedy="Make another, with `createdb -E UTF8 -T template0 NAME`.",
        )


def bound(engine: Engine, limits: Limits) -> None:
    """Bound every answer of an engine's connections, and look at each that was idle before it is used."""
    answer_s = None if limits.statement_s is None else limits.statement_s + GRACE_S

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: ConnectionPoolEntry, given: list[Any], named: dict[str, Any]) -> Any:
        connection = BoundedConnection.connect(*given, **named)
        try:
            require_supported(connection.info.server_version)
            require_unicode(connection.info.parameter_status("server_encoding"))
        except StoreError:
            connection.close()
            raise
        return connection

    @event.listens_for(engine, "checkin")
    def note(_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        record.info[RETURNED] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def look(connection: BoundedConnection, record: ConnectionPoolEntry, _proxied: PoolProxiedConnection) -> None:
        returned = record.info.get(RETURNED)
        if returned is not None and time.monotonic() - returned > IDLE_S:
            connection.answer_s = PING_S
            try:
                connection.execute("")
                connection.rollback()
            except OperationalError as error:  # then the others in the pool are as old, and most likely gone as well
                raise InvalidatePoolError from error
        connection.answer_s, connection.is_unhurried = answer_s, False
