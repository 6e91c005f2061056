"""Refusals in bounded number: the first of a kind is recorded at once, the others of its minute in one record."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from matchka.store.audit.records import Event

WINDOW_S: Final = 60.0
MOST_KINDS: Final = 512  # told apart in a minute; those beyond it are counted without caller, subject and call
OTHERS: Final = "others"


@dataclass
class _Kind:
    event: Event
    ends_at: float
    more: int = 0


class RefusalCounts:
    """Counts refusals that differ in nothing but their time and request."""

    def __init__(self) -> None:
        self._kinds: dict[Event, _Kind] = {}

    def take(self, event: Event, now: float) -> Event | None:
        """Count one refusal.

        Args:
            event: the refusal.
            now: monotonic seconds.

        Returns: what is to be recorded of it at once; None where it is counted with others.
        """
        kind = replace(event, request_id=None)
        if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
            kind = Event(event.outcome, OTHERS, detail=event.detail)
            event = replace(kind)
        known = self._kinds.get(kind)
        if known is None:
            self._kinds[kind] = _Kind(kind, now + WINDOW_S)
            return event
        known.more += 1
        return None

    def ended(self, now: float) -> Iterator[Event]:
        """What is to be recorded of those whose minute is over; of all with an infinite `now`."""
        for kind in [kind for kind, counted in self._kinds.items() if counted.ends_at <= now]:
            counted = self._kinds.pop(kind)
            if counted.more:
                yield replace(counted.event, count=counted.more)
