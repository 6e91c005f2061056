"""Shares and turns of accounts, against slow recomputations."""

from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matchka.runtime.fairness.account import Account
from matchka.runtime.fairness.shares import MOST_REMEMBERED, FairClock, has_room, may_hold, most_held

WEIGHTS = [1.0, 2.0, 0.5]


def filled(limit: int, greedy: int) -> list[int]:
    """What greedy accounts end up with when each takes one place after the other for as long as it may."""
    held = [0] * greedy
    is_changed = True
    while is_changed:
        is_changed = False
        for number in range(greedy):
            if may_hold(held[number] + 1, sum(held) + 1, limit):
                held[number] += 1
                is_changed = True
    return held


@pytest.mark.parametrize("limit", [1, 5, 8, 64, 128, 1000])
def test_may_hold_of_an_account_alone_is_the_limit_exactly(limit: int):
    assert filled(limit, 1) == [limit]


@given(limit=st.integers(8, 500), greedy=st.integers(1, 6))
def test_may_hold_beside_greedy_accounts_leaves_room_for_one_that_comes_new(limit: int, greedy: int):
    held = filled(limit, greedy)
    assert sum(held) <= limit + limit / 8
    assert max(held) - min(held) <= 1
    if limit >= 8 * (8 * greedy + 1):
        assert may_hold(1, sum(held) + 1, limit)


def test_may_hold_gives_by_weight():
    left = 144 + 18 - 152
    assert [may_hold(held, 152, 144) for held in (8 * left, 8 * left + 1)] == [True, False]
    assert [may_hold(held, 152, 144, weight=2.0) for held in (16 * left, 16 * left + 1)] == [True, False]


def slow_start_time_queueing(
    arrivals: list[tuple[float, int, float]], weights: list[float]
) -> list[tuple[int, float, float]]:
    """Start-time fair queueing as it is defined: tags for each piece of work, one server of unit speed.

    Args:
        arrivals: when, of which account, how much; in the order of time.
        weights: of the accounts.

    Returns: account, size and start of each piece, in the order in which they are served.
    """
    finish = [0.0] * len(weights)
    pending = deque(arrivals)
    waiting: list[tuple[float, int, int, float]] = []  # start tag, order of coming, account, size
    virtual, now, order = 0.0, 0.0, 0
    served = []
    while pending or waiting:
        if not waiting:
            now = max(now, pending[0][0])
        while pending and pending[0][0] <= now:
            _, account, size = pending.popleft()
            start = max(virtual, finish[account])
            finish[account] = start + size / weights[account]
            waiting.append((start, order, account, size))
            order += 1
        piece = min(waiting)
        waiting.remove(piece)
        virtual = piece[0]
        served.append((piece[2], piece[3], now))
        now += piece[3]
    return served


def served_by_clock(arrivals: list[tuple[float, int, float]], weights: list[float]) -> list[tuple[int, float, float]]:
    """The same by the clock: an account's pieces in their order, its turn by its tag."""
    clock, accounts = FairClock(), [Account(str(number), weight) for number, weight in enumerate(weights)]
    pending, queues = deque(arrivals), [deque[tuple[float, int]]() for _ in weights]
    now, order, served = 0.0, 0, []
    while pending or any(queues):
        if not any(queues):
            now = max(now, pending[0][0])
        while pending and pending[0][0] <= now:
            _, account, size = pending.popleft()
            queues[account].append((size, order))
            order += 1
        waiting = sorted((queue[0][1], account) for account, queue in enumerate(queues) if queue)
        chosen = int(clock.first(accounts[account] for _, account in waiting).name)
        size, _ = queues[chosen].popleft()
        clock.charge(accounts[chosen], size)
        served.append((chosen, size, now))
        now += size
    return served


def most_lag(served: list[tuple[int, float, float]], a: int, b: int, weights: list[float]) -> float:
    """The largest difference of what two accounts were given for their weights, of any stretch of the service."""
    totals = [0.0]
    for account, size, _ in served:
        if account in (a, b):
            totals.append(totals[-1] + (size if account == a else -size) / weights[account])
    return max(totals) - min(totals)


PIECES = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), min_size=1, max_size=60)


@given(pieces=PIECES)
def test_first_of_accounts_that_all_wait_keeps_the_bound_of_start_time_queueing(pieces: list[tuple[int, int]]):
    arrivals = [(0.0, account, float(size)) for account, size in pieces]
    by_clock, slow = served_by_clock(arrivals, WEIGHTS), slow_start_time_queueing(arrivals, WEIGHTS)
    assert sorted(piece[:2] for piece in by_clock) == sorted(p[:2] for p in slow)
    left = Counter(account for account, _ in pieces)
    for served in (by_clock, slow):
        remaining, stretch = left.copy(), []
        for piece in served:
            if len(+remaining) < 3:
                break
            stretch.append(piece)
            remaining[piece[0]] -= 1
        for a, b in ((0, 1), (0, 2), (1, 2)):
            largest = [max((size for account, size in pieces if account == who), default=0) for who in (a, b)]
            bound = largest[0] / WEIGHTS[a] + largest[1] / WEIGHTS[b]
            assert most_lag(stretch, a, b, WEIGHTS) <= bound + 1e-9


@given(
    pieces=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2), st.integers(1, 9)), min_size=1, max_size=40),
)
def test_first_serves_whoever_comes_as_the_definition_does_where_each_has_one_piece_at_a_time(
    pieces: list[tuple[int, int, int]],
):
    """An account that has one piece at a time gets its tag when it comes, and both then say the same."""
    spread = sorted((1000.0 * number + at, account, float(size)) for number, (at, account, size) in enumerate(pieces))
    assert served_by_clock(spread, WEIGHTS) == slow_start_time_queueing(spread, WEIGHTS)


def test_first_of_one_that_comes_back_saves_nothing_up_and_owes_nothing():
    clock, busy, idle = FairClock(), Account("busy"), Account("idle")
    for _ in range(1000):
        clock.charge(clock.first([busy]), 1.0)
    given = []
    for _ in range(10):
        given.append(clock.first([busy, idle]))
        clock.charge(given[-1], 1.0)
    assert Counter(account.name for account in given) == {"busy": 5, "idle": 5}
    assert given[0] == idle


def test_first_of_those_eligible_leaves_the_others_their_place():
    clock, long, short = FairClock(), Account("long"), Account("short")
    for _ in range(5):
        assert clock.first([long, short], [short]) == short
        clock.charge(short, 1.0)
    given = []
    for _ in range(6):
        given.append(clock.first([short, long]))
        clock.charge(given[-1], 1.0)
    assert [account.name for account in given] == ["long"] * 5 + ["short"]


def test_charge_of_many_accounts_that_come_once_remembers_few():
    clock = FairClock()
    for number in range(10 * MOST_REMEMBERED):
        account = Account(str(number))
        clock.charge(clock.first([account]), 1.0)
        clock.charge(account, -1.0)
    assert len(clock._accounts[""]._tags) <= MOST_REMEMBERED + 1


def test_charge_of_many_tenants_that_come_once_remembers_few():
    clock = FairClock()
    for number in range(10 * MOST_REMEMBERED):
        account = Account(str(number), tenant=str(number))
        clock.charge(clock.first([account]), 1.0)
        clock.charge(account, -1.0)
    assert len(clock._accounts) <= MOST_REMEMBERED + 1


def test_first_gives_a_tenant_of_many_accounts_as_much_as_one_of_a_single_account():
    many = [Account(f"m{number}", tenant="many") for number in range(30)]
    single = Account("s", tenant="few")
    clock, given = FairClock(), Counter[str]()
    for _ in range(600):
        account = clock.first([*many, single])
        clock.charge(account, 1.0)
        given[account.name] += 1
    assert given["s"] == 300
    assert {given[account.name] for account in many} == {10}


@given(limit=st.integers(8, 500), keys=st.integers(1, 40))
def test_has_room_for_another_tenant_beside_one_with_many_keys(limit: int, keys: int):
    held = dict.fromkeys((Account(str(number), tenant="many") for number in range(keys)), 0.0)
    is_changed = True
    while is_changed:
        is_changed = False
        for account in held:
            if has_room(held, account, 1, limit):
                held[account] += 1
                is_changed = True
    assert sum(held.values()) <= limit + limit / 8
    assert held[Account("0", tenant="many")] <= limit
    other = Account("other", tenant="few")
    taken = 0
    while has_room({**held, other: taken}, other, 1, limit):
        taken += 1
    # an eighth of what a tenant may have is kept for the next, of which it leaves a ninth again
    assert taken >= limit // 9
    assert sum(held.values()) + taken <= most_held(limit)
