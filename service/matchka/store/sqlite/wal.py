"""Truncates SQLite's write-ahead log after a deletion, as soon as no reader prevents it."""

import logging
from threading import Condition, Thread
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

BLOCKING_MS: Final = 100  # an attempt keeps writers out while it waits for readers, so it waits no longer than this
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0
ERASE_WAIT_S: Final = 2.0  # a deletion waits this long for its bytes to leave the log; then it is answered all the same
LOGGER: Final = logging.getLogger("matchka.store")


class WalTruncation:
    """Truncates the log on request, and retries until it succeeds.

    What was deleted stays readable in the log until all of it has been copied into the database file and the log is
    cut to nothing. SQLite can do neither while anyone, in any process, still reads an older state: a backup does so
    for as long as it copies.

    Args: engine: of SQLite.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._changed = Condition()
        self._requested = 0
        self._erased = 0
        self._is_closing = False
        self._thread: Thread | None = None

    def request(self) -> None:
        """Request the truncation of everything committed so far."""
        with self._changed:
            self._requested += 1
            if self._thread is None:
                self._thread = Thread(target=self._run, name="wal-truncation", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Wait until all requests before this call are done; False if that takes longer than `timeout_s` seconds."""
        with self._changed:
            ticket = self._requested
            return self._changed.wait_for(lambda: self._erased >= ticket, timeout_s)

    def close(self) -> None:
        """Make one last attempt and stop."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    @property
    def waiting(self) -> int:
        """Requests not yet carried out."""
        with self._changed:
            return self._requested - self._erased

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._requested > self._erased or self._is_closing)
                ticket, is_last = self._requested, self._is_closing
            done = ticket == self._erased or self._emptied()
            with self._changed:
                if done:
                    self._erased = ticket
                    pause_s = FIRST_PAUSE_S
                    self._changed.notify_all()
                if is_last:
                    return
                if not done:
                    self._changed.wait_for(lambda: self._is_closing, pause_s)
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _emptied(self) -> bool:
        try:
            with self._engine.connect() as connection:
                connection.detach()  # its short timeout must not go back to the pool
                connection.exec_driver_sql(f"PRAGMA busy_timeout={BLOCKING_MS}")
                busy: int = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar_one()
                return busy == 0
        except SQLAlchemyError as error:  # a full disk, say: the log is not lost, and the next attempt may do
            LOGGER.warning("the write-ahead log could not be emptied, and is tried again: %s", error)
            return False
