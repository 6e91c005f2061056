"""A token bucket for each key: requests a second that it may send."""

import time
from collections.abc import Callable

from matchka.errors import TooManyRequestsError
from matchka.store.keys.records import Grant


class RequestRates:
    """Counts the requests of keys that have such a ceiling; a second's worth may come at once, and always one.

    Args: clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full_at: dict[str, float] = {}  # by key: when its bucket will be full again

    def take(self, grant: Grant) -> None:
        """Count one request.

        Raises: TooManyRequestsError: the key has sent as many as it may.
        """
        rate = grant.ceilings.requests_per_s
        if rate is None or grant.key_id is None:
            return
        now = self._clock()
        full_at = max(self._full_at.get(grant.key_id, now), now)
        wait = full_at + 1 / rate - now - max(1.0, 1 / rate)
        if wait > 1e-9:  # the sum of many reciprocals is not exact
            raise TooManyRequestsError(
                f"The key may send {rate:g} requests a second.",
                value=grant.key_id,
                remedy="Try again after the seconds in Retry-After, or use a key with a higher ceiling.",
                retry_after_s=wait,
            )
        self._full_at[grant.key_id] = full_at + 1 / rate
