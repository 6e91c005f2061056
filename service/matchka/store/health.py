"""Whether the database answers: asked on a connection of its own, so that neither load nor a hang decides it."""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Final

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from matchka.errors import StorageFailedError
from matchka.store.database import Limits
from matchka.store.database_errors import as_matchka_error
from matchka.store.engine import open_engine

ANSWER_S: Final = 1.5  # /readyz promises to answer within two seconds
LIMITS: Final = Limits(pool_size=1, pool_wait_s=1.0, connect_s=2, statement_s=1.0)


class DatabaseHealth:
    """Asks databases whether they answer; whoever asks meanwhile gets the same answer.

    Args: engines: of the databases; nothing is asked before ask().
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = [open_engine(engine.url.render_as_string(hide_password=False), LIMITS) for engine in engines]
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="database-health")
        self._lock = Lock()
        self._asked_at = 0.0
        self._answer: Future[None] | None = None

    def ask(self) -> tuple[Future[None], float]:
        """Ask, unless that is under way.

        Returns: what ends when the databases have answered, or fails when they do not, and how many seconds to wait for
            it before they are taken to be away; 0 where somebody has waited for as long.
        """
        with self._lock:
            if self._answer is None or self._answer.done():
                self._asked_at = time.monotonic()
                self._answer = self._executor.submit(self._ask)
            return self._answer, max(0.0, self._asked_at + ANSWER_S - time.monotonic())

    def close(self) -> None:
        """Close the connections."""
        self._executor.shutdown()
        for engine in self._engines:
            engine.dispose()

    def _ask(self) -> None:
        try:
            for engine in self._engines:
                with engine.connect() as connection:
                    connection.execute(select(1))
        except SQLAlchemyError as error:
            raise (as_matchka_error(error) or does_not_answer()) from error


def does_not_answer() -> StorageFailedError:
    """The error for a database that is away, or takes too long."""
    return StorageFailedError("The database does not answer.", remedy="Check the database server, and try again.")
