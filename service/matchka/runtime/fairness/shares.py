"""How much one account may hold while others want some too, and whose turn is next."""

from collections.abc import Collection, Container, Iterable, Mapping
from typing import Final

from matchka.runtime.fairness.account import Account

KEPT: Final = 8  # one account may hold so many times what would be left for the next one
MOST_REMEMBERED: Final = 256  # accounts whose tags are kept; those that nothing is known of begin at the same place


def has_room(held: Mapping[Account, float], account: Account, more: float, limit: float) -> bool:
    """Whether an account may hold so much more: its tenant beside the others, and it beside its tenant's others.

    Args:
        held: what each account has.
        account: who asks.
        more: what it asks for.
        limit: what one account may hold where there is no other; see most_held.

    >>> keys = [Account(str(key), tenant="many") for key in range(4)]
    >>> held = dict.fromkeys(keys, 36.0)
    >>> has_room(held, Account("another", tenant="many"), 1, 128), has_room(held, Account("one", tenant="few"), 1, 128)
    (False, True)
    """
    everybodys = more + sum(held.values())
    tenants = more + sum(count for other, count in held.items() if other.tenant == account.tenant)
    mine = more + held.get(account, 0.0)
    return may_hold(mine, tenants, limit, account.weight) and may_hold(tenants, everybodys, _with_kept(limit))


def most_held(limit: float) -> float:
    """What all accounts together can hold: an eighth is kept in each tenant for its others, and one for other tenants.

    >>> most_held(128)
    162.0
    """
    return _with_kept(_with_kept(limit))


def may_hold(mine: float, everybodys: float, limit: float, weight: float = 1.0) -> bool:
    """Whether one may hold so much of what is shared.

    One alone has the whole limit, and an eighth more is kept for others. The more of them hold something, the less each
    may have; one that comes new finds an eighth of what the greediest has.

    Args:
        mine: what it would hold, that which it asks for included.
        everybodys: what all would hold then.
        limit: what one may hold where there is no other.
        weight: its part beside the others.

    Source: dynamic thresholds, Choudhury and Hahne 1998, doi:10.1109/90.664262.

    >>> [may_hold(places, places, 128) for places in (1, 128, 129)]
    [True, True, False]
    >>> may_hold(1, 129, 128), may_hold(16, 144, 128), may_hold(68, 136, 128), may_hold(69, 137, 128)
    (True, False, False, False)
    >>> [may_hold(places, 2 * places, 128) for places in (67, 68)]
    [True, False]
    """
    return mine <= KEPT * weight * (_with_kept(limit) - everybodys)


class FairClock:
    """Start-time fair queueing in two levels. Not safe for threads.

    The next is of the tenant that was given least, and of its accounts the one that was given least for its weight.

    While two tenants wait, or two accounts of one tenant, what they were given for their weights differs by no more
    than the largest piece of one and the largest of the other.

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
        self._tenants = _Tags()
        self._accounts: dict[str, _Tags] = {}  # by tenant

    def first(self, waiting: Iterable[Account], eligible: Iterable[Account] | None = None) -> Account:
        """Whose turn it is; among equals, the one that is named first.

        Args:
            waiting: all accounts that want something, at least one, in the order of their coming.
            eligible: those of them that can be given something now, at least one; all by default.
        """
        waiting = list(waiting)
        possible = waiting if eligible is None else list(eligible)
        tenant = self._tenants.first((one.tenant for one in waiting), {one.tenant for one in possible})
        tags = self._accounts.setdefault(tenant, _Tags())
        names = {one.name: one for one in possible if one.tenant == tenant}
        return names[tags.first((one.name for one in waiting if one.tenant == tenant), names)]

    def charge(self, account: Account, work: float) -> None:
        """Note what an account was given, or with a negative sign what it was charged too much."""
        self._tenants.charge(account.tenant, work)
        self._accounts.setdefault(account.tenant, _Tags()).charge(account.name, work / account.weight)
        if len(self._accounts) > MOST_REMEMBERED:
            self._accounts = {name: tags for name, tags in self._accounts.items() if name in self._tenants.remembered}


class _Tags:
    """Start-time fair queueing on one level, by name.

    Each name has a tag, the work that it was charged for. One that comes back after a pause begins where the least of
    those that wait is: it saves nothing up, and owes nothing for what it got while nobody else wanted it.
    """

    def __init__(self) -> None:
        self._tags: dict[str, float] = {}
        self._now = 0.0  # the least tag of those that waited last; never goes back

    @property
    def remembered(self) -> Collection[str]:
        """Of whom there is a tag."""
        return self._tags.keys()

    def first(self, waiting: Iterable[str], eligible: Container[str]) -> str:
        """Whose turn it is of those eligible; among equals, the one that is named first."""
        tags = {name: self._tags.get(name, 0.0) for name in waiting}
        self._now = max(self._now, min(tags.values()))
        return min((name for name in tags if name in eligible), key=lambda name: max(self._now, tags[name]))

    def charge(self, name: str, work: float) -> None:
        """Note what was given."""
        self._tags[name] = max(self._now, self._tags.get(name, 0.0)) + work
        if len(self._tags) > MOST_REMEMBERED:  # a tag that has passed says nothing that its absence does not
            self._tags = {name: tag for name, tag in self._tags.items() if tag > self._now}


def _with_kept(limit: float) -> float:
    return limit + max(1.0, limit / KEPT)
