"""Load shedding: a request whose answer is expected too late is refused at once."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from matchka.errors import DeadlinePassedError, MatchkaError, OverloadedError
from matchka.runtime.fairness.account import ANONYMOUS, Account

FIRST_GUESS_S: Final = 0.05  # a sample, before any was answered: a clip of 5 s on two cores takes half of it
# How much of the mean time for a sample the newest one is. Those that come faster count less: a few quick ones in a row
# would open the door to more than can be answered, and under overload many wait before it.
SLOWER_SHARE: Final = 0.2
FASTER_SHARE: Final = 0.05


class LoadShedder:
    """Counts the samples of requests whose body has arrived and whose answer has not. For one thread, the event loop's.

    More work than can be done in time is worse than a little less: all of it is dropped when its time is over, and
    nothing at all is answered. So the time to an answer is foretold from the samples before and the mean time between
    answered ones while there was work, and a request that would take longer than the bound is refused; but never one
    that comes while nothing else of its account is at work. Tenants and their accounts take turns
    (fairness/shares.py), so that of what others have waiting no more counts than is done meanwhile.

    Args:
        max_s: the bound.
        clock: monotonic seconds.
        always_taken: samples of one account that are taken however long they take.
    """

    def __init__(self, max_s: float, clock: Callable[[], float] = time.monotonic, always_taken: int = 0) -> None:
        self._max_s = max_s
        self._clock = clock
        self._always_taken = always_taken
        self._samples: Counter[Account] = Counter()
        self._worked_since = 0.0  # the last answer, or the first request after a time without any
        self._interval_s = FIRST_GUESS_S

    def expected_s(self, samples: int, account: Account = ANONYMOUS) -> float:
        """Seconds that a request of so many samples would take, with all that are done before it."""
        before: Counter[str] = Counter()  # of other tenants
        mine = tenants = float(self._samples[account] + samples)
        for other, count in self._samples.items():
            if other.tenant != account.tenant:
                before[other.tenant] += count
            elif other != account:
                tenants += min(count, mine * other.weight / account.weight)
        return (tenants + sum(min(count, tenants) for count in before.values())) * self._interval_s

    def require_room(self, samples: int = 1, account: Account = ANONYMOUS) -> None:
        """Refuse what would take too long.

        Raises: OverloadedError: the expected time to the answer is too long.
        """
        mine = self._samples[account]
        is_promised = not mine or mine + samples <= self._always_taken
        if not is_promised and self.expected_s(samples, account) > self._max_s:
            raise OverloadedError(
                f"{mine} samples are waiting or at work; this would take {self.expected_s(samples, account):.0f} s.",
                remedy="Try again after the seconds in Retry-After.",
            )

    @contextmanager
    def at_work(self, samples: int = 1, account: Account = ANONYMOUS) -> Iterator[None]:
        """Count a request until the end of the block, and learn from how it ends.

        Raises: OverloadedError: it would take too long.
        """
        self.require_room(samples, account)
        if not self._samples:
            self._worked_since = self._clock()
        self._samples[account] += samples
        try:
            yield
            self._learn(samples)
        except DeadlinePassedError:
            # nothing was answered for this long: at least so slow is it now
            self._interval_s = max(self._interval_s, self._clock() - self._worked_since)
            raise
        except MatchkaError:
            self._learn(samples)
            raise
        finally:
            self._samples[account] -= samples
            if not self._samples[account]:
                del self._samples[account]

    def _learn(self, samples: int) -> None:
        now = self._clock()
        newest_s = (now - self._worked_since) / samples
        share = SLOWER_SHARE if newest_s > self._interval_s else FASTER_SHARE
        self._interval_s += (1 - (1 - share) ** samples) * (newest_s - self._interval_s)
        self._worked_since = now
