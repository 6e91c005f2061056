"""The feed under late commits: whatever the order in which transactions end, no change of theirs is missed."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import pairwise

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from matchka.store.database import Limits
from matchka.store.engine import database_of, open_engine
from matchka.store.feed.changes import note_changes
from matchka.store.feed.feed import CHANGES_AT_ONCE, Change, ChangeFeed, FeedState, forget_foreign_changes
from matchka.store.feed.snapshot import Snapshot
from matchka.store.store import Store, opened_store
from matchka.store.vault.vault import CLEAR
from tests.factories.databases import ServerUnderTest, UnderTest
from tests.factories.unit_vectors import unit_vectors

units = partial(unit_vectors, dim=6)
WRITERS = 4
FIRST = Snapshot(0)


@pytest.fixture
def engine(database: UnderTest) -> Iterator[Engine]:
    with opened_store(database.url):
        pass
    opened = open_engine(database.url, Limits(pool_size=2 * WRITERS))
    yield opened
    opened.dispose()


def feed_of(engine: Engine) -> ChangeFeed:
    return ChangeFeed(engine, CLEAR, Limits())


def keys_between(feed: ChangeFeed, since: Snapshot, until: Snapshot) -> list[int]:
    with feed.look() as look:
        return [change.subject_key for changes, _ in look.changes(since, until) for change in changes]


def noted(engine: Engine, *keys: int) -> None:
    with Session(engine) as session, session.begin():
        note_changes(session, "t", keys, "voice")


def test_transaction_that_ends_late_is_seen_once_it_has_ended_and_not_again(postgres_url: str):
    with opened_store(postgres_url):
        pass
    engine = open_engine(postgres_url)
    with closing(feed_of(engine)) as feed:
        with Session(engine) as slow, Session(engine) as slower:
            note_changes(slower, "t", [1])
            note_changes(slow, "t", [2])
            noted(engine, 3)
            first = feed.state()
            assert keys_between(feed, FIRST, first.snapshot) == [3]
            noted(engine, 4)
            second = feed.state()
            assert keys_between(feed, first.snapshot, second.snapshot) == [4]
            slow.commit()
            third = feed.state()
            assert keys_between(feed, second.snapshot, third.snapshot) == [2]
            slower.rollback()
        fourth = feed.state()
        assert keys_between(feed, third.snapshot, fourth.snapshot) == []
        states = [first, second, third, fourth]
        assert [after.follows(before) for before, after in pairwise(states)] == [True] * 3
        assert not third.follows(fourth)
    engine.dispose()


def follow(feed: ChangeFeed, is_over: Callable[[], bool]) -> list[int]:
    """Every change, as a follower would meet them."""
    found: list[int] = []
    seen = FIRST
    while True:
        over = is_over()
        state = feed.state()
        found += keys_between(feed, seen, state.snapshot)
        seen = state.snapshot
        if over:
            return found


def commits_out_of_order(engine: Engine, changes: int) -> tuple[set[int], list[int]]:
    """What several writers commit, one transaction in twenty held open, and what is followed meanwhile."""
    committed, lock = set[int](), threading.Lock()

    def write(writer: int) -> None:
        chance = random.Random(writer)
        for number in range(changes // WRITERS):
            key = number * WRITERS + writer + 1
            with Session(engine) as session:
                database_of(engine).begin_writing(session.connection())
                note_changes(session, "t", [key], "voice")
                if chance.random() < 0.05:
                    chance_to_overtake.wait(0.01)
                if chance.random() < 0.1:
                    session.rollback()
                    continue
                session.commit()
            with lock:
                committed.add(key)

    chance_to_overtake = threading.Event()  # never set: a pause
    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    with closing(feed_of(engine)) as feed:
        for thread in threads:
            thread.start()
        followed = follow(feed, lambda: not any(thread.is_alive() for thread in threads))
    return committed, followed


def test_no_change_of_concurrent_writers_is_missed(engine: Engine):
    committed, followed = commits_out_of_order(engine, 200)
    assert set(followed) == committed


@pytest.mark.slow
def test_no_change_of_many_concurrent_writers_is_missed(engine: Engine):
    committed, followed = commits_out_of_order(engine, 20_000)
    assert set(followed) == committed


def test_long_feed_is_read_in_pages_each_change_once(engine: Engine):
    total = 2 * CHANGES_AT_ONCE + 7
    noted(engine, *range(1, total + 1))
    with closing(feed_of(engine)) as feed, feed.look() as look:
        pages = list(look.changes(FIRST, look.state().snapshot))
    assert [len(changes) for changes, _ in pages] == [CHANGES_AT_ONCE, CHANGES_AT_ONCE, 7]
    assert [left for _, left in pages] == [CHANGES_AT_ONCE + 7, 7, 0]
    assert [change for changes, _ in pages for change in changes] == [
        Change("t", n, "voice") for n in range(1, total + 1)
    ]


def test_old_changes_are_forgotten_a_bounded_number_at_a_time_and_who_has_not_seen_them_is_told(database: UnderTest):
    with opened_store(database.url) as store:
        before = store.feed.state()
        for number in range(5):
            store.add_templates("t", f"s{number}", "voice", "1", units(1, number))
        after = store.feed.state()
        assert store.rights.forget_old_changes(timedelta(hours=1), 10) == 0
        assert store.feed.state().follows(before)
        assert [store.rights.forget_old_changes(timedelta(hours=-1), 2) for _ in range(4)] == [2, 2, 1, 0]
        assert database.rows("SELECT count(*) FROM changes") == [(0,)]
        now = store.feed.state()
        assert (now.follows(before), now.follows(after)) == (False, True)
        store.add_templates("t", "s5", "voice", "1", units(1, 5))  # no number is given twice
        assert store.feed.state().follows(after)
        assert keys_between(store.feed, after.snapshot, store.feed.state().snapshot) == [6]


def test_feed_of_another_store_does_not_go_on_here(store_and_state: tuple[Store, FeedState]):
    store, state = store_and_state
    other = FeedState("0" * 32, state.snapshot, None)
    assert store.feed.state().follows(state)
    assert not store.feed.state().follows(other)


@pytest.fixture
def store_and_state(database: UnderTest) -> Iterator[tuple[Store, FeedState]]:
    with opened_store(database.url) as store:
        yield store, store.feed.state()


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (Snapshot(732, frozenset({728})), True),  # 728 runs still: nothing of it can have been forgotten
        (Snapshot(733), False),  # it ended meanwhile, and may have been
        (Snapshot(733, frozenset({728})), True),
    ],
)
def test_feed_whose_old_changes_were_forgotten_goes_on_unless_one_was_not_seen(now: Snapshot, expected: bool):
    before = FeedState("0" * 32, Snapshot(732, frozenset({728})), None)
    assert FeedState("0" * 32, now, 730).follows(before) is expected


def test_feed_of_a_promoted_standby_does_not_go_on(store_and_state: tuple[Store, FeedState]):
    store, state = store_and_state
    assert not store.feed.state().follows(replace(state, origin="another timeline"))


def test_changes_that_a_dump_of_another_cluster_brought_are_gone_when_the_store_is_opened(postgres_url: str):
    database = ServerUnderTest(postgres_url)
    with opened_store(database.url) as store:
        store.add_templates("t", "ada", "voice", "1", units(1, 1))
        own = database.rows("SELECT number FROM changes")
        state = store.feed.state()
    # as its rows come out of pg_dump: their numbers are those of a server that has done more
    database.change(
        "INSERT INTO changes (transaction_id, tenant, subject_key, model, changed_at)"
        " SELECT 9000000000 + n, 't', n, 'voice', now() FROM generate_series(1, 3) AS n"
    )
    database.change("INSERT INTO change_horizon VALUES (9000000001)")
    with opened_store(database.url) as store:
        assert database.rows("SELECT number FROM changes") == own
        assert store.feed.state().forgotten is None
        assert store.feed.state().follows(state)
        assert store.unseen(store.feed.state().snapshot, "t", "voice", "1").is_held == {}


def test_changes_of_this_database_are_kept_whoever_writes_while_it_is_opened(engine: Engine):
    ended = threading.Event()

    def write() -> None:
        for number in range(100):
            noted(engine, number)
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    rounds = 0
    while not ended.is_set() or not rounds:
        with Session(engine) as session, session.begin():
            assert forget_foreign_changes(session) == 0
        rounds += 1
    writer.join()
    with closing(feed_of(engine)) as feed:
        assert keys_between(feed, FIRST, feed.state().snapshot) == list(range(100))
