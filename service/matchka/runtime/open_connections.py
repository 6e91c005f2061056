"""Connection limit: which connection is closed for a new one when the limit is reached."""

from enum import Enum
from itertools import islice
from typing import Final, Generic, Protocol, TypeVar

LINGERING_SHARE: Final = 8  # one of so many connections may be that of a request that is refused already
MOST_LOOKED_AT: Final = 32  # of one standing for a new one; those behind have been silent for less time


class ConnectionStanding(Enum):
    """What a connection is known for, and seconds of silence after which it may make room; the first go first."""

    REFUSED = "its request is refused, and at most the rest of a body is dropped", 0.0
    UNKNOWN = "none of its requests was authorised", 0.2
    AUTHORISED = "one was, so that it is a caller's own, kept for the next", 1.0
    AT_WORK = "one is, and is not answered yet", float("inf")

    @property
    def silent_s(self) -> float:
        """Seconds of silence before it may make room."""
        return self.value[1]


class OpenConnection(Protocol):
    """What the limit needs of a connection."""

    def is_silent_since(self, moment: float) -> bool:
        """Whether it has asked nothing since then, and neither side waits for the other to read."""

    def let_go(self) -> None:
        """End it at once."""


C = TypeVar("C", bound=OpenConnection)


class OpenConnections(Generic[C]):
    """The connections of one server, by standing, in each the one first that has been silent for longest.

    Args:
        most: open at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._standings: dict[C, ConnectionStanding] = {}
        self._groups: dict[ConnectionStanding, dict[C, None]] = {standing: {} for standing in ConnectionStanding}

    def has_room(self, now: float) -> bool:
        """Whether one more may come, for which another is let go where it has to be."""
        if len(self._standings) < self._most:
            return True
        for standing, group in self._groups.items():
            for connection in islice(group, 0 if standing is ConnectionStanding.AT_WORK else MOST_LOOKED_AT):
                if standing is ConnectionStanding.REFUSED or connection.is_silent_since(now - standing.silent_s):
                    self._end(connection)
                    return True
        return False

    def place(self, connection: C, standing: ConnectionStanding) -> None:
        """Set the standing of a connection, new or not."""
        self.remove(connection)
        self._standings[connection] = standing
        refused = self._groups[ConnectionStanding.REFUSED]
        self._groups[standing][connection] = None
        if len(refused) > max(1, self._most // LINGERING_SHARE):
            self._end(next(iter(refused)))

    def remove(self, connection: C) -> None:
        """Forget a connection."""
        standing = self._standings.pop(connection, None)
        if standing is not None:
            del self._groups[standing][connection]

    def _end(self, connection: C) -> None:
        self.remove(connection)
        connection.let_go()
