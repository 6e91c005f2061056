"""What a client has seen of the store: the newest position it was told, which it sends with every call."""

from threading import Lock
from typing import Final

import httpx2

HEADER: Final = "Matchka-Position"
REFUSED: Final = "invalid_position"  # the code of a service whose store was replaced since


class Positions:
    """The newest position. Safe to use from threads, whose answers may arrive in another order than they were made."""

    def __init__(self) -> None:
        self._newest: str | None = None
        self._lock = Lock()

    @property
    def headers(self) -> dict[str, str]:
        """What is sent with a call, so that any replica shows what others have answered to have stored."""
        newest = self._newest
        return {} if newest is None else {HEADER: newest}

    def note(self, response: httpx2.Response) -> None:
        """Remember the position that an answer tells, if it is newer."""
        told = response.headers.get(HEADER)
        if told is not None:
            with self._lock:
                self._newest = told if self._newest is None else later(self._newest, told)

    def forget(self, refused: str) -> None:
        """Forget a position that the service refuses."""
        with self._lock:
            if self._newest == refused:
                self._newest = None


def later(known: str, told: str) -> str:
    """The later of two positions: STORE-NEXT[-RUNNING...]; that which was told last where they are of two stores.

    Of one store, the later has seen more transactions begin, or, where these are as many, more of them end.

    >>> later("0f0f0f0f-20-6-10", "0f0f0f0f-20-6"), later("0f0f0f0f-20", "0f0f0f0f-9")
    ('0f0f0f0f-20-6', '0f0f0f0f-20')
    """
    try:
        (store, ahead), (other, told_ahead) = _order(known), _order(told)
    except ValueError:
        return told
    return known if store == other and ahead > told_ahead else told


def _order(position: str) -> tuple[str, tuple[int, int]]:
    store, next_id, *running = position.split("-")
    return store, (int(next_id), -len(running))
