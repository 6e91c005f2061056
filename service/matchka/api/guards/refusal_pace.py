"""Back-off for accounts that are refused and come again at once: their refusals are delayed."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from matchka.api.problems import RETRY_AFTER_S

FREE: Final = 10  # refusals of one tenant in a row that are not delayed
INTERVAL_S: Final = 0.1  # between two refusals of one tenant from then on, or they are delayed
DELAY_S: Final = float(RETRY_AFTER_S)  # who waited as long before asking again waits no longer by it
MOST_WAITING_OF_ONE: Final = 64  # refusals of one tenant at once; of the body of each up to 64 KiB stay in memory
MOST_WAITING: Final = 128


class RefusalPace:
    """Delays the refusals of a tenant that is refused more than ten times a second, as if its callers had waited.

    A refusal costs little beside an answer, but the next request comes at once, with a body that has to be read or
    thrown away: callers that ignore Retry-After would take a good part of a core from those who are served. Refusals
    hold nothing while they wait.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: dict[str, float] = {}  # by tenant, when one more refusal would be as it should be
        self._waiting: Counter[str] = Counter()  # by tenant

    async def wait(self, tenant: str) -> bool:
        """Wait for as long as a refusal of this tenant should.

        Returns: False where as many wait already as may.
        """
        now = self._clock()
        self._due = {other: due for other, due in self._due.items() if due > now - FREE * INTERVAL_S}
        due = self._due.get(tenant, now - FREE * INTERVAL_S) + INTERVAL_S
        if due <= now + 1e-6:  # sums of tenths are not exact
            self._due[tenant] = due
            return True
        if self._waiting[tenant] >= MOST_WAITING_OF_ONE or self._waiting.total() >= MOST_WAITING:
            return False
        self._waiting[tenant] += 1
        try:
            await asyncio.sleep(DELAY_S)
        finally:
            self._waiting[tenant] -= 1
            if not self._waiting[tenant]:
                del self._waiting[tenant]
        return True
