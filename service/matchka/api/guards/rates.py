"""A token bucket for each key: requests a second that it may send."""

import time
from collections.abc import Callable
from typing import Final

from matchka.errors import TooManyRequestsError
from matchka.runtime.processes.moments import Moments, OwnMoments
from matchka.store.keys.records import Grant

SLACK_S: Final = 1e-9  # the sum of many reciprocals is not exact


class RequestRates:
    """Counts the requests of keys that have such a ceiling; a second's worth may come at once, and always one.

    Args:
        clock: monotonic seconds.
        moments: when the bucket of each key will be full again; shared where several processes count together.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, moments: Moments | None = None) -> None:
        self._clock = clock
        self._moments = moments or OwnMoments()

    def take(self, grant: Grant) -> None:
        """Count one request.

        Raises: TooManyRequestsError: the key has sent as many as it may.
        """
        rate = grant.ceilings.requests_per_s
        if rate is None or grant.key_id is None:
            return
        now = self._clock()

        def wait_s(full_at: float) -> float:
            return max(full_at, now) + 1 / rate - now - max(1.0, 1 / rate)

        def charged(full_at: float) -> float:
            return full_at if wait_s(full_at) > SLACK_S else max(full_at, now) + 1 / rate

        wait = wait_s(self._moments.change(grant.key_id, charged))
        if wait > SLACK_S:
            raise TooManyRequestsError(
                f"The key may send {rate:g} requests a second.",
                value=grant.key_id,
                remedy="Try again after the seconds in Retry-After, or use a key with a higher ceiling.",
                retry_after_s=wait,
            )
