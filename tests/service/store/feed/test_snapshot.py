"""Snapshots against plain sets of transactions, and positions against what nobody made."""

import random

import pytest

from matchka.errors import PositionError
from matchka.store.feed.snapshot import MOST_RUNNING, Position, Snapshot

STORE = "0f0f0f0f"


def history(seed: int, steps: int = 60) -> list[tuple[Snapshot, set[int]]]:
    """What is seen at each step while transactions begin and end in any order, and the finished ones as a set."""
    chance = random.Random(seed)
    next_id, running, finished = 3, set[int](), set[int]()
    found = []
    for _ in range(steps):
        if running and chance.random() < 0.5:
            ended = chance.choice(sorted(running))
            running.remove(ended)
            finished.add(ended)
        else:
            running.add(next_id)
            next_id += 1
        # PostgreSQL's xmax is behind the last one that ended, not behind the last one that began
        ahead = max(finished, default=2) + 1
        found.append((Snapshot(ahead, frozenset(one for one in running if one < ahead)), set(finished)))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_snapshot_includes_another_exactly_where_its_transactions_do(seed: int):
    seen = history(seed)
    for one, finished in seen:
        for other, of_other in seen:
            assert one.includes(other) == (finished >= of_other)
        assert one.horizon == min({*range(3, 100)} - finished)


@pytest.mark.parametrize("seed", range(5))
def test_position_is_read_back_from_its_text(seed: int):
    for snapshot, _ in history(seed):
        text = str(Position(STORE, snapshot))
        assert Position.parse(text) == Position(STORE, snapshot)


def test_position_with_more_transactions_than_it_names_asks_for_all_of_them():
    running = frozenset(range(100, 101 + MOST_RUNNING))
    told = Position.parse(str(Position(STORE, Snapshot(500, running)))).snapshot
    assert told == Snapshot(500)
    assert not Snapshot(500, running).includes(told)
    assert Snapshot(501).includes(told)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        f"{STORE}-0",
        f"{STORE}-7-",
        f"{STORE}-7-7",  # the transaction 0
        f"{STORE}-9-3-2",  # not in their order
        f"{STORE}-9-2-2",
        f"{STORE}-9 ",
        f"{STORE}-9\n",
        f"{STORE}-٩",
        f"{STORE.upper()}-9",
        f"{STORE[1:]}-9",
        f"{STORE}-9" + "-1" * 100,
        f"{STORE}-1" + "0" * 19,
    ],
)
def test_text_that_is_no_position_is_refused(text: str):
    with pytest.raises(PositionError, match="no position"):
        Position.parse(text)
