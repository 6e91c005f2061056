"""Deletes subjects when their time is over, and forgets old entries of the deletion log and old answers.

All of it by the database's clock.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Condition, Thread
from typing import Final, Protocol

from sqlalchemy.exc import SQLAlchemyError

from matchka.errors import MatchkaError
from matchka.store.database_errors import reason_of

ROUND_S: Final = 60.0
BUSY_ROUND_S: Final = 1.0  # while more are due than one round deletes
MOST_AT_ONCE: Final = 100  # subjects of one transaction, which others wait for
MOST_FORGOTTEN: Final = 1_000  # entries of a log in one transaction
MOST_AHEAD: Final = timedelta(minutes=5)  # of a clock that is set right now and then
BELIEVED_AFTER_S: Final = 3600.0
LOGGER: Final = logging.getLogger("matchka.tasks.embedding.expiry")


class Expiring(Protocol):
    """What subjects expire in."""

    @property
    def database_time(self) -> datetime:
        """The time by which they do."""
        ...

    def delete_expired(self, most: int) -> int:
        """Delete some of those whose time is over; how many it were."""
        ...

    def forget_old_deletions(self, older_than: timedelta, most: int) -> int:
        """Take the oldest deletions off the deletion log; how many it were."""
        ...

    def forget_old_changes(self, older_than: timedelta, most: int) -> int:
        """Take the oldest changes off the change feed; how many it were."""
        ...

    def forget_old_answers(self, older_than: timedelta, most: int) -> int:
        """Forget the oldest answers that are kept for requests that are sent again; how many it were."""
        ...


@dataclass(frozen=True)
class Kept:
    """For how long entries are kept.

    Attributes:
        deletions: of the deletion log.
        changes: of the change feed.
        answers: of enrolments, for requests that are sent again.
    """

    deletions: timedelta
    changes: timedelta
    answers: timedelta


class ClockWatch:
    """Whether a clock may be believed where something cannot be undone.

    A clock that goes ahead of the monotonic one by more than MOST_AHEAD has jumped, or the machine slept. It is
    believed when it has kept its new time for an hour: until then somebody may set it right. A clock that is set back
    is believed: by it, too little has expired.
    """

    def __init__(self) -> None:
        self._last: tuple[datetime, float] | None = None
        self._jumped_s = -math.inf

    def is_trusted(self, now: datetime, monotonic_s: float) -> bool:
        """Whether the clock may be believed.

        Args:
            now: by the clock.
            monotonic_s: seconds by one that nobody sets.
        """
        if self._last is not None:
            before, before_s = self._last
            if now - before > timedelta(seconds=monotonic_s - before_s) + MOST_AHEAD:
                LOGGER.warning(
                    "the database's clock went from %s to %s in %.0f s: nothing that expired is deleted for an hour",
                    *(before.isoformat(), now.isoformat(), monotonic_s - before_s),
                )
                self._jumped_s = monotonic_s
        self._last = (now, monotonic_s)
        return monotonic_s - self._jumped_s >= BELIEVED_AFTER_S


class ExpirySweeper:
    """A thread that deletes what has expired, a bounded number at a time. No answer waits for it.

    Args:
        subjects: to be swept.
        kept: what is not kept for ever.
        clock: monotonic seconds.
    """

    def __init__(self, subjects: Expiring, kept: Kept, clock: Callable[[], float] = time.monotonic) -> None:
        self._subjects = subjects
        self._kept = kept
        self._clock = clock
        self._watch = ClockWatch()
        self._changed = Condition()
        self._is_closing = False
        self._thread = Thread(target=self._run, name="expiry", daemon=True)

    def start(self) -> None:
        """Begin, with a first round at once."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the transaction that is under way."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def sweep(self) -> float:
        """Do one round. Returns: seconds until the next one."""
        if not self._watch.is_trusted(self._subjects.database_time, self._clock()):
            return ROUND_S
        deleted = self._subjects.delete_expired(MOST_AT_ONCE)
        if deleted:
            LOGGER.info("%d subjects expired and are deleted", deleted)
        forgotten = (
            self._subjects.forget_old_deletions(self._kept.deletions, MOST_FORGOTTEN),
            self._subjects.forget_old_changes(self._kept.changes, MOST_FORGOTTEN),
            self._subjects.forget_old_answers(self._kept.answers, MOST_FORGOTTEN),
        )
        return BUSY_ROUND_S if deleted == MOST_AT_ONCE or MOST_FORGOTTEN in forgotten else ROUND_S

    def _run(self) -> None:
        wait_s = 0.0
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._is_closing, wait_s):
                    return
            try:
                wait_s = self.sweep()
            except (SQLAlchemyError, MatchkaError) as error:  # a busy database, say: the next round does it
                LOGGER.warning("what expired could not be deleted, and is tried again: %s", reason_of(error))
                wait_s = ROUND_S
