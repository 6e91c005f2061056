"""Which transactions a state of the store includes, and the positions that callers are told."""

import re
from dataclasses import dataclass
from typing import Final

from matchka.errors import PositionError

IDENTITY_DIGITS: Final = 8  # of the store's name: enough to tell one store from another by mistake
MOST_RUNNING: Final = 64  # named in a position; where more run, it asks for all of them, which only takes longer
POSITION: Final = re.compile(rf"[0-9a-f]{{{IDENTITY_DIGITS}}}(-[1-9][0-9]{{0,18}}){{1,{MOST_RUNNING + 1}}}")


@dataclass(frozen=True)
class Snapshot:
    """The transactions whose changes one look at the database sees: all that are finished, and no other.

    A number of a transaction is given before its commit, so that late commits have low numbers: a single number could
    not say what was seen. Of two snapshots of one database, one includes the other.

    Attributes:
        next_id: all that are seen have lower numbers; the lowest one that was not given yet.
        running: those below it that were not finished.
    """

    next_id: int
    running: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, text: str) -> "Snapshot":
        """Read PostgreSQL's form.

        >>> Snapshot.parse("10:20:10,14") == Snapshot(20, frozenset({10, 14}))
        True
        """
        _, next_id, running = text.split(":")
        return cls(int(next_id), frozenset(map(int, running.split(","))) if running else frozenset())

    def includes(self, other: "Snapshot") -> bool:
        """Whether all that the other sees is seen here, too.

        >>> early, late = Snapshot(20, frozenset({10, 14})), Snapshot(22, frozenset({14, 21}))
        >>> late.includes(early), early.includes(late)
        (True, False)
        """
        missed = {one for one in self.running if one < other.next_id}
        return self.next_id >= other.next_id and missed <= other.running

    @property
    def horizon(self) -> int:
        """Every transaction below this number is finished."""
        return min(self.running, default=self.next_id)


@dataclass(frozen=True)
class Position:
    """A state of one store, as a short text that callers hand back to be shown nothing older.

    Attributes: store: the first digits of the store's name.
    """

    store: str
    snapshot: Snapshot

    def __str__(self) -> str:
        """The text: the store, the next transaction, and how far below it each one lies that was running.

        >>> str(Position("0f" * 4, Snapshot(20, frozenset({10, 14}))))
        '0f0f0f0f-20-6-10'
        """
        next_id, running = self.snapshot.next_id, self.snapshot.running
        below = sorted(next_id - one for one in running) if len(running) <= MOST_RUNNING else []
        return "-".join([self.store, *map(str, (next_id, *below))])

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Read the text.

        Raises: PositionError: it is none that str() makes.

        >>> Position.parse("0f0f0f0f-20-6-10").snapshot.running == {10, 14}
        True
        """
        if not POSITION.fullmatch(text):
            raise not_a_position(text)
        store, *numbers = text.split("-")
        next_id, *below = map(int, numbers)
        found = cls(store, Snapshot(next_id, frozenset(next_id - one for one in below)))
        if str(found) != text or any(one >= next_id for one in below):
            raise not_a_position(text)
        return found


def not_a_position(text: str) -> PositionError:
    """The error for a text that is no position of this store."""
    return PositionError(
        "This is no position of this service's store.",
        value=text[:100],
        remedy="Send the last Matchka-Position that it answered, unchanged, or none.",
    )
