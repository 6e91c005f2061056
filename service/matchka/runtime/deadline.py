"""Request deadline and cancellation, carried by a context variable and checked before each expensive step."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from matchka.errors import ClientGoneError, DeadlinePassedError, MatchkaError


class Deadline:
    """When a request is given up: at its deadline, or when the client closes the connection.

    Args:
        seconds: from now to the deadline; infinity for work that no request waits for.
        clock: a monotonic clock in seconds.
    """

    def __init__(self, seconds: float = math.inf, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._ends_at = clock() + seconds
        self._client_is_gone = False

    def cancel(self) -> None:
        """Note that the client has closed the connection. Safe to call from any thread."""
        self._client_is_gone = True

    @property
    def remaining_s(self) -> float | None:
        """Seconds to the deadline, at least 0; None (no timeout, for locks and events) where there is none."""
        return None if math.isinf(self._ends_at) else max(0.0, self._ends_at - self._clock())

    @property
    def cancellation(self) -> MatchkaError | None:
        """The error of a request that has expired or whose client has gone, new each time; None for any other."""
        if self._clock() >= self._ends_at:
            return self.deadline_error
        if self._client_is_gone:
            return ClientGoneError("The client closed the connection before the answer.", remedy="Wait for the answer.")
        return None

    @property
    def deadline_error(self) -> DeadlinePassedError:
        """The error of a deadline that passed, new each time."""
        return DeadlinePassedError(
            f"The request was not answered within {self._seconds:g} s and was dropped.",
            remedy="Try again after the seconds in Retry-After; MATCHKA_REQUEST_TIMEOUT_S sets the time.",
        )

    def require(self) -> None:
        """Stop work on a request that has expired or was cancelled.

        Raises: ClientGoneError, DeadlinePassedError.
        """
        cancellation = self.cancellation
        if cancellation is not None:
            raise cancellation


# What a worker thread works for. A context variable, which only works at module level: the session that waits in a
# queue is many calls below the route that knows the request, and nothing between the two cares.
_CURRENT: Final[ContextVar[Deadline | None]] = ContextVar("matchka_deadline", default=None)


def current_deadline() -> Deadline:
    """That of the request that this thread works for; outside requests, one that never ends."""
    return _CURRENT.get() or Deadline()


@contextmanager
def working_for(deadline: Deadline) -> Iterator[None]:
    """Work for a request in this thread until the end of the block.

    Raises: ClientGoneError, DeadlinePassedError: it was given up before the work began.
    """
    deadline.require()
    token = _CURRENT.set(deadline)
    try:
        yield
    finally:
        _CURRENT.reset(token)
