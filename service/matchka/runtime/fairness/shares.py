"""How much one account may hold while others want some too, and whose turn is next."""

from collections.abc import Iterable, Mapping
from typing import Final

from matchka.runtime.fairness.account import Account

KEPT: Final = 8  # one account may hold so many times what would be left for the next one
MOST_REMEMBERED: Final = 256  # accounts whose tags are kept; those that nothing is known of begin at the same place


def may_hold(mine: float, everybodys: float, limit: float, weight: float = 1.0) -> bool:
    """Whether an account may hold so much of what is shared.

    An account alone has the whole limit, and an eighth more is kept for others. The more of them hold something, the
    less each may have; one that comes new finds an eighth of what the greediest has.

    Args:
        mine: what it would hold, that which it asks for included.
        everybodys: what all would hold then.
        limit: what one account may hold where there is no other.
        weight: of the account.

    Source: dynamic thresholds, Choudhury and Hahne 1998, doi:10.1109/90.664262.

    >>> [may_hold(places, places, 128) for places in (1, 128, 129)]
    [True, True, False]
    >>> may_hold(1, 129, 128), may_hold(16, 144, 128), may_hold(68, 136, 128), may_hold(69, 137, 128)
    (True, False, False, False)
    >>> [may_hold(places, 2 * places, 128) for places in (67, 68)]
    [True, False]
    """
    left = limit + max(1.0, limit / KEPT) - everybodys
    return mine <= KEPT * weight * left


class FairClock:
    """Start-time fair queueing: the next is the account that was given least for its weight. Not safe for threads.

    Each account has a tag, the work that it was charged for, divided by its weight. One that comes back after a pause
    begins where the least of those that wait is: it saves nothing up, and owes nothing for what it got while nobody
    else wanted it. While two accounts wait, what they were given for their weights differs by no more than the largest
    piece of one and the largest of the other.

    Source: Goyal, Vin and Cheng 1997, doi:10.1109/90.649569.

    >>> clock, a, b = FairClock(), Account("a"), Account("b", weight=2.0)
    >>> given = []
    >>> for _ in range(6):
    ...     given.append(clock.first([a, b]))
    ...     clock.charge(given[-1], 1.0)
    >>> "".join(account.name for account in given)
    'abbabb'
    """

    def __init__(self) -> None:
        self._tags: dict[str, float] = {}
        self._now = 0.0  # the least tag of those that waited last; never goes back

    def first(self, waiting: Iterable[Account], eligible: Iterable[Account] | None = None) -> Account:
        """Whose turn it is; among equals, the one that is named first.

        Args:
            waiting: all accounts that want something, at least one, in the order of their coming.
            eligible: those of them that can be given something now, at least one; all by default.
        """
        tags = {account: self._tags.get(account.name, 0.0) for account in waiting}
        self._now = max(self._now, min(tags.values()))
        return _least(tags if eligible is None else {account: tags[account] for account in eligible}, self._now)

    def charge(self, account: Account, work: float) -> None:
        """Note what an account was given, or with a negative sign what it was charged too much."""
        self._tags[account.name] = max(self._now, self._tags.get(account.name, 0.0)) + work / account.weight
        if len(self._tags) > MOST_REMEMBERED:  # a tag that has passed says nothing that its absence does not
            self._tags = {name: tag for name, tag in self._tags.items() if tag > self._now}


def _least(tags: Mapping[Account, float], now: float) -> Account:
    return min(tags, key=lambda account: max(now, tags[account]))
