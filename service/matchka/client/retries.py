"""Which calls are sent again when no answer came or the service has no room, how often, and after which pauses."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from matchka.client.calls import Call

MOST_TRIES: Final = 5
FIRST_PAUSE_S: Final = 0.2  # at most twice as long each time, so that clients that failed together part
LONGEST_PAUSE_S: Final = 5.0
NO_ROOM: Final = 503


@dataclass(frozen=True)
class Patience:
    """How a client waits for a service that has no room.

    Attributes:
        repeats_safe_calls: whether calls that change nothing are sent again where the service answers 503.
        tell: called before each pause with its seconds.
    """

    repeats_safe_calls: bool = False
    tell: Callable[[float], None] = lambda _pause_s: None


IMPATIENT: Final = Patience()


class Retries:
    """The further tries of one call: none but of a call that the service knows again, or of a safe one.

    A safe call is sent again only where the service says that it has no room, and whoever asks has patience. What took
    too long is not sent again: whoever waits has a limit of its own.
    """

    def __init__(self, call: Call[Any], patience: Patience = IMPATIENT) -> None:
        self._is_known_again = call.is_known_again
        self._patience = patience
        is_repeated = call.is_known_again or (call.is_safe and patience.repeats_safe_calls)
        self._left = MOST_TRIES - 1 if is_repeated else 0
        self._pause_s = FIRST_PAUSE_S

    def pause_after_error(self, error: httpx2.RequestError) -> float:
        """Seconds to wait after a connection failed. Raises: httpx2.RequestError: the same, where it was the last."""
        if (
            not self._left
            or not self._is_known_again
            or not isinstance(error, httpx2.NetworkError | httpx2.RemoteProtocolError)
        ):
            raise error
        return self._next_pause(0.0)

    def pause_after_answer(self, response: httpx2.Response) -> float | None:
        """Seconds to wait after an answer; None where it is the answer."""
        if not self._left or response.status_code != NO_ROOM:
            return None
        told = response.headers.get("retry-after", "")
        return self._next_pause(float(told) if told.isdecimal() else 0.0)

    def _next_pause(self, least_s: float) -> float:
        self._left -= 1
        pause_s = self._pause_s * random.uniform(0.5, 1.0)
        self._pause_s *= 2
        pause_s = min(LONGEST_PAUSE_S, max(least_s, pause_s))
        self._patience.tell(pause_s)
        return pause_s
