"""A follower of a file that nobody writes does not look at the feed, and is not behind for it."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from matchka.store.feed.feed import ChangeFeed
from tests.factories.replicas import PATIENCE_S, replicas
from tests.factories.samples import sample

T = TypeVar("T")
POLLS = 20


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[ChangeFeed, Counter[str]]:
    """How often each feed was asked for its mark, and looked at; a feed is asked by one thread."""
    counted: dict[ChangeFeed, Counter[str]] = defaultdict(Counter)

    def counting(name: str, method: Callable[[ChangeFeed], T]) -> Callable[[ChangeFeed], T]:
        def call(feed: ChangeFeed) -> T:
            counted[feed][name] += 1
            return method(feed)

        return call

    for name in ("mark", "look"):
        monkeypatch.setattr(ChangeFeed, name, counting(name, getattr(ChangeFeed, name)))
    return counted


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.01)


def wait_for_polls(calls: dict[ChangeFeed, Counter[str]]) -> None:
    most = {feed: counted["mark"] + POLLS for feed, counted in calls.items()}
    wait_until(lambda: all(calls[feed]["mark"] >= most[feed] for feed in most))


def test_looks_only_where_somebody_has_committed_and_is_in_step_all_the_while(
    tmp_path: Path, calls: dict[ChangeFeed, Counter[str]]
):
    with replicas(tmp_path, f"sqlite:///{tmp_path / 'matchka.sqlite'}", poll_ms=10) as another:
        here, there = another(), another()
        wait_until(lambda: len(calls) == 2)
        wait_for_polls(calls)  # those of the start, which looked
        looked, began = {feed: counted["look"] for feed, counted in calls.items()}, time.monotonic()
        wait_for_polls(calls)
        behind_s = there.following.lag_s
        assert behind_s < time.monotonic() - began
        assert {feed: counted["look"] for feed, counted in calls.items()} == looked
        here.enroll("default", "voice", "ada", [sample(1)])
        wait_until(lambda: there.gallery_sizes() == {("default", "voice"): 1})
        assert all(calls[feed]["look"] > looked[feed] for feed in looked)
