"""States of the store as texts, which galleries that outlive their process keep; and when they may be kept."""

import json
import time
from collections.abc import Callable, Iterable
from functools import reduce
from typing import Final

from matchka.store.feed.feed import FeedState
from matchka.store.feed.snapshot import Snapshot

AGAIN_S: Final = 60.0  # far longer than any write to a gallery's server is under way


def to_text(state: FeedState) -> str:
    """A state as a text.

    >>> to_text(FeedState("0f", Snapshot(20, frozenset({14, 10})), None, "primary"))
    '["0f", "primary", 20, [10, 14]]'
    """
    return json.dumps([state.identity, state.origin, state.snapshot.next_id, sorted(state.snapshot.running)])


def from_text(text: str) -> FeedState:
    """The state of a text that to_text() made."""
    identity, origin, next_id, running = json.loads(text)
    return FeedState(identity, Snapshot(next_id, frozenset(running)), None, origin)


def earliest(states: Iterable[FeedState]) -> FeedState:
    """That of several states of one store that all others include."""
    return reduce(lambda one, other: one if other.snapshot.includes(one.snapshot) else other, states)


class SecondApplication:
    """Which changes are to be applied to shared galleries once more, and which state is remembered with them.

    Every process applies every change, so that the last write of each of them is of what the store holds. But one that
    was held up may write late what it read early, over what another has written meanwhile, and end before it comes to
    the later change. So whoever lives applies each change a second time, when no write of its time can be under way any
    more; and only what was applied twice is remembered, for what starts later goes on from there.

    Args:
        clock: monotonic seconds.
        again_s: after so long, at least.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, again_s: float = AGAIN_S) -> None:
        self._clock = clock
        self._again_s = again_s
        self._twice: FeedState | None = None
        self._once: FeedState | None = None
        self._once_at = 0.0

    def begin(self, state: FeedState) -> None:
        """All changes until a state were applied twice, or need not be."""
        self._twice = self._once = state
        self._once_at = self._clock()

    def due(self) -> tuple[FeedState, FeedState] | None:
        """Between which states changes have to be applied again now; None where it is not time yet."""
        if self._twice is None or self._once is None or self._clock() - self._once_at < self._again_s:
            return None
        return self._twice, self._once

    def note(self, state: FeedState) -> None:
        """What was due was applied, and all changes until a later state once."""
        self._twice, self._once = self._once, state
        self._once_at = self._clock()
