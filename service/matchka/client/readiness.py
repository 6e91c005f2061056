"""How long to wait for a service that is starting."""

import time
from typing import Final

from matchka.client.connection import Connection
from matchka.errors import RequestFailedError, ServiceUnreachableError

POLL_S: Final = 0.1
SHORTEST_WAIT_S: Final = 0.2  # for one answer, when the time to wait is nearly over
NOT_READY: Final = 503


class ReadinessDeadline:
    """What is left of the time to wait, from its making on."""

    def __init__(self, connection: Connection, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s

    @property
    def answer_timeout_s(self) -> float:
        """Longest wait for the next answer."""
        return min(self._connection.timeout_s, max(SHORTEST_WAIT_S, self._deadline - time.monotonic()))

    def require_more(self, error: ServiceUnreachableError | RequestFailedError) -> None:
        """Go on after an answer that was none.

        Raises: RequestFailedError: waiting does not help. ServiceUnreachableError: the time is over.
        """
        if isinstance(error, RequestFailedError) and error.status != NOT_READY:
            raise error
        if time.monotonic() >= self._deadline:
            raise ServiceUnreachableError(
                f"The service is not ready after {self._timeout_s:g} s.",
                value=self._connection.url,
                remedy="Start it with `matchka serve` and look at its log.",
            ) from error
