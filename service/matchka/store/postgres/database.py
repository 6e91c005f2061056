"""PostgreSQL as the store's database: a server that several services share, whose writers lock rows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, ColumnElement, Connection, Engine, Select, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from matchka.errors import StoreError
from matchka.store.connections.pool import MeasuredPool
from matchka.store.database import Hints, Limits, Trouble
from matchka.store.schema import Base

# By the beginning of SQLSTATE, the longest that fits (https://www.postgresql.org/docs/current/errcodes-appendix.html)
TROUBLES: Final = {
    "53100": Trouble.FULL,
    "XX001": Trouble.DAMAGED,  # data_corrupted
    "XX002": Trouble.DAMAGED,  # index_corrupted
    "25006": Trouble.READ_ONLY,
    "55000": Trouble.UNAVAILABLE,  # object_not_in_prerequisite_state, of whatever object
    "08": Trouble.UNAVAILABLE,  # connection
    "53": Trouble.UNAVAILABLE,  # resources
    "57P": Trouble.UNAVAILABLE,  # shutdown
    "58": Trouble.UNAVAILABLE,  # input and output
    "28": Trouble.UNAVAILABLE,  # who asks is not let in
    "3D": Trouble.UNAVAILABLE,  # no such database
    "42501": Trouble.UNAVAILABLE,  # insufficient_privilege
    "25P03": Trouble.UNAVAILABLE,  # idle_in_transaction_session_timeout
    "40": Trouble.UNAVAILABLE,  # a conflict that did not end
    "55P03": Trouble.UNAVAILABLE,  # lock_not_available
    "57014": Trouble.UNAVAILABLE,  # statement_timeout
}
# that ask for the place in the log, which a standby does not write; in PostgreSQL's source, so in no server's language
OF_RECOVERY: Final = ("55000", ("pg_current_wal_lsn", "pg_walfile_name"))
CONFLICTS: Final = ("23505", "40001", "40P01")  # unique_violation, serialization_failure, deadlock_detected
DRIVER: Final = "postgresql+psycopg"
DRIVERS: Final = (DRIVER, "postgresql")
APPLICATION: Final = "matchka"  # in pg_stat_activity
# a machine that is gone is noticed within 11 s, where TCP's own habit is two hours; in ms the last
KEEPALIVES: Final = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 11_000}
# what locks of rows are written for, whatever the default: who waited for one reads what is there now
ISOLATION: Final = {"default_transaction_isolation": r"read\ committed"}
IDLE_TIMES: Final = 3  # as long as a statement may a transaction be idle, and hold its locks


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


class NoWatch:
    """A server is asked for no less than what a look asks for."""

    def mark(self) -> None:
        """Never known."""

    def close(self) -> None:
        """There is nothing to stop."""


class Postgres:
    """A server."""

    now = "clock_timestamp()"
    transaction = "pg_current_xact_id()::text::bigint"
    snapshot = "pg_current_snapshot()::text"
    unseen = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
    # the cluster, and its timeline: a standby that is promoted begins a new one
    origin = (
        "((SELECT system_identifier FROM pg_control_system())::text"
        " || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))"
    )

    def most_writers(self, limits: Limits) -> int:
        """Half of the connections: an enrolment that looks for similar subjects needs a second one."""
        return max(1, limits.pool_size // 2)

    def watch(self, engine: Engine) -> NoWatch:  # noqa: ARG002 - of the protocol
        """None."""
        return NoWatch()

    def hints(self, engine: Engine) -> Hints:
        """NOTIFY, and a connection that listens."""
        from matchka.store.postgres.notifications import Notifications  # needs psycopg

        return Notifications(engine)

    def open(self, url: URL, limits: Limits) -> Engine:
        """Prepare connections to a server, which is not asked yet."""
        from matchka.store.postgres.connection import bound  # needs psycopg, which the extra [postgres] brings

        if url.drivername not in DRIVERS:
            raise StoreError(
                "PostgreSQL is spoken to by psycopg 3.",
                value=url.drivername,
                remedy="Write postgresql:// in MATCHKA_DATABASE_URL.",
            )
        settings = {"application_name": APPLICATION} | ISOLATION | limits_in_server(limits)
        given = url.query.get("options", "")
        options = " ".join([*(f"-c {name}={value}" for name, value in settings.items()), str(given)])
        engine = create_engine(
            url.set(drivername=DRIVER).difference_update_query(["options"]),
            hide_parameters=True,  # an error that is logged has no subject ids
            poolclass=MeasuredPool,
            pool_size=limits.pool_size,
            max_overflow=0,
            pool_timeout=limits.pool_wait_s,
            connect_args={**KEEPALIVES, "connect_timeout": limits.connect_s, "options": options},
        )
        bound(engine, limits)
        return engine

    def file_of(self, url: URL) -> Path | None:  # noqa: ARG002 - of the protocol
        """There is none that the service could see."""
        return None

    @contextmanager
    def reading(self, engine: Engine) -> Iterator[Connection]:
        """Read one snapshot."""
        with engine.execution_options(isolation_level="REPEATABLE READ").connect() as connection:
            self.unhurried(connection)
            yield connection

    def unhurried(self, connection: Connection) -> None:
        """Lift the limits, the server's to the end of the transaction, ours while it takes new connections."""
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        driver: Any = connection.connection.driver_connection
        driver.is_unhurried = True  # until the connection is given back

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

    def columns(
        self, engine: Engine, query: Select[*tuple[Any, ...]], key: ColumnElement[int], at_once: int
    ) -> Iterator[Sequence[Sequence[Any]]]:
        """By COPY."""
        from matchka.store.postgres.copying import copied_columns  # needs psycopg

        with engine.connect() as connection:
            self.unhurried(connection)  # sorting a million rows before the first is sent
            # psycopg locks it for as long as the copy lasts, so that a pool that got it back would wait for ever
            connection.detach()
            yield from copied_columns(connection, query.order_by(key), at_once)

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

    def trouble_of(self, error: DBAPIError) -> tuple[Trouble, str] | None:
        """By SQLSTATE; where the server said nothing, because it could not be reached, by the error's class."""
        if not hasattr(error.orig, "sqlstate"):
            return None
        state = str(getattr(error.orig, "sqlstate", None) or "")
        if state == OF_RECOVERY[0] and _function_of(error) in OF_RECOVERY[1]:
            return Trouble.READ_ONLY, state
        fitting = [start for start in TROUBLES if state.startswith(start)]
        if fitting:
            return TROUBLES[max(fitting, key=len)], state
        is_unreachable = not state and isinstance(error, OperationalError)
        return (Trouble.UNAVAILABLE, _reason(str(error.orig))) if is_unreachable else None

    def is_conflict(self, error: DBAPIError) -> bool:
        """By SQLSTATE."""
        return getattr(error.orig, "sqlstate", None) in CONFLICTS


def _function_of(error: DBAPIError) -> str | None:
    """The function of the server's source that reported an error."""
    said: Any = getattr(error.orig, "diag", None)
    return getattr(said, "source_function", None)


def _reason(said: str) -> str:
    """Why a connection failed, without where it was to go to.

    >>> _reason('connection failed: connection to server at "::1", port 5432 failed: FATAL:  no such database')
    'FATAL:  no such database'
    """
    return said.rpartition(" failed: ")[2].partition("\n")[0]


def limits_in_server(limits: Limits) -> dict[str, int]:
    """Settings by which the server ends what takes too long, and what a service that was stopped or cut off has begun.

    >>> limits_in_server(Limits(statement_s=10.0))
    {'statement_timeout': 10000, 'idle_in_transaction_session_timeout': 30000}
    """
    if limits.statement_s is None:
        return {}
    statement_ms = round(1000 * limits.statement_s)
    return {"statement_timeout": statement_ms, "idle_in_transaction_session_timeout": IDLE_TIMES * statement_ms}
