"""A follower of a file that nobody writes does not look at the feed, and is not behind for it."""

import time
from collections import Counter
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
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often feeds were asked for their marks, and looked at."""
    counted: Counter[str] = Counter()

    def counting(name: str, method: Callable[[ChangeFeed], T]) -> Callable[[ChangeFeed], T]:
        def call(feed: ChangeFeed) -> T:
            counted[name] += 1
            return method(feed)

        return call

    for name in ("mark", "look"):
        monkeypatch.setattr(ChangeFeed, name, counting(name, getattr(ChangeFeed, name)))
    return counted


def wait_for_polls(calls: Counter[str]) -> None:
    most, end = calls["mark"] + POLLS, time.monotonic() + PATIENCE_S
    while calls["mark"] < most:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_looks_only_where_somebody_has_committed_and_is_in_step_all_the_while(tmp_path: Path, calls: Counter[str]):
    with replicas(tmp_path, f"sqlite:///{tmp_path / 'matchka.sqlite'}", poll_ms=10) as another:
        here, there = another(), another()
        wait_for_polls(calls)  # those of the start, which looked
        looked, began = calls["look"], time.monotonic()
        wait_for_polls(calls)
        behind_s = there.following.lag_s
        assert behind_s < time.monotonic() - began
        assert calls["look"] == looked
        here.enroll("default", "voice", "ada", [sample(1)])
        wait_for_polls(calls)
        assert calls["look"] > looked
        assert there.gallery_sizes() == {("default", "voice"): 1}
