"""How long a request that comes now would wait, so that one that would wait in vain is refused at once."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from service.errors import OverloadedError

# How much of the mean time between answers the newest one is. Answers that come faster count less: a few quick ones in
# a row would open the door to more than can be answered, and under overload many wait before it.
SLOWER_SHARE: Final = 0.2
FASTER_SHARE: Final = 0.05


class Backlog:
    """Counts requests whose body has arrived and whose answer has not. For one thread, the event loop's.

    A queue that holds more than can be answered in time is worse than a short one: its requests are dropped when their
    time is over, after work was spent on them. So the wait is foretold from the number of those before and the mean
    time between answers while there was work, and a request that would wait longer than the bound is refused.

    Args:
        max_wait_s: the bound.
        workers: requests that are worked on at once; so many never wait.
        clock: monotonic seconds.
        always_taken: so many are taken however long they wait.
    """

    def __init__(
        self,
        max_wait_s: float,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
        always_taken: int = 0,
    ) -> None:
        self._max_wait_s = max_wait_s
        self._workers = workers
        self._clock = clock
        self._always_taken = always_taken
        self._at_work = 0
        self._last_change = 0.0  # of the number at work from or to none, or by an answer
        self._interval_s = 0.0

    @property
    def expected_wait_s(self) -> float:
        """Seconds until a request that comes now could be begun."""
        return max(0, self._at_work + 1 - self._workers) * self._interval_s

    def require_room(self) -> None:
        """Refuse what would wait too long.

        Raises: OverloadedError: as said.
        """
        if self._at_work >= self._always_taken and self.expected_wait_s > self._max_wait_s:
            raise OverloadedError(
                f"{self._at_work} requests are waiting or at work; the answer would take {self.expected_wait_s:.0f} s.",
                remedy="Try again after the seconds in Retry-After.",
            )

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Count a request until the end of the block.

        Raises: OverloadedError: it would wait too long.
        """
        self.require_room()
        if not self._at_work:
            self._last_change = self._clock()
        self._at_work += 1
        try:
            yield
        finally:
            now = self._clock()
            interval_s = now - self._last_change
            share = SLOWER_SHARE if interval_s > self._interval_s else FASTER_SHARE
            share = share if self._interval_s else 1.0
            self._interval_s += share * (interval_s - self._interval_s)
            self._last_change = now
            self._at_work -= 1
