"""Failed attempts: free up to a number, then waits that double; counted for each key and subject, across restarts."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from matchka.errors import TooManyAttemptsError
from matchka.store.attempts import AttemptRules, Attempts, FailureCount, Searches
from matchka.store.schema import AttemptRow
from matchka.store.store import Store, opened_store
from tests.factories.databases import UnderTest
from tests.factories.unit_vectors import unit_vectors

START = datetime(2026, 1, 1, tzinfo=UTC)
RULES = AttemptRules(free_in_an_hour=30, longest_wait_s=3600.0)
FEW = AttemptRules(free_in_an_hour=2, longest_wait_s=3600.0)


@pytest.fixture
def store(database: UnderTest) -> Iterator[Store]:
    with opened_store(database.url) as opened:
        for number, (tenant, subject) in enumerate([("t", "ada"), ("t", "ben"), ("other", "ada")]):
            opened.add_templates(tenant, subject, "voice", "1", unit_vectors(1, number, dim=8))
        yield opened


def failing(
    store: Store, times: int, target: str | Searches = "ada", key: str = "k", rules: AttemptRules = FEW
) -> None:
    for _ in range(times):
        store.attempts.note_failed(key, "t", target, 1, rules)


def count_after(seconds: list[float], rules: AttemptRules = RULES) -> FailureCount:
    """The count after failures so many seconds after the start."""
    count = FailureCount(0.0, 0, START)
    for when in seconds:
        count = count.after(1, START + timedelta(seconds=when), rules)
    return count


def test_failures_up_to_the_number_that_is_free_wait_for_nothing():
    assert count_after([0.0] * 30).blocked_until is None
    assert count_after([0.0] * 31).blocked_until == START + timedelta(seconds=60)


def test_failures_that_come_as_slowly_as_they_leak_away_wait_for_nothing():
    assert count_after([120.0 * n for n in range(500)]).blocked_until is None
    assert count_after([115.0 * n for n in range(1000)]).blocked_until is not None


def test_each_further_failure_waits_twice_as_long_up_to_the_longest():
    count = count_after([0.0] * 30)
    waits, now = [], START
    for _ in range(9):
        count = count.after(1, now, RULES)
        assert count.blocked_until is not None
        waits.append((count.blocked_until - now).total_seconds())
        now = count.blocked_until
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


@pytest.mark.parametrize(("before", "at_once"), [(0, 1), (0, 32), (29, 2), (30, 3), (31, 32), (35, 1)])
def test_failures_at_once_wait_as_long_as_one_after_the_other(before: int, at_once: int):
    waited_s, count = 0.0, count_after([0.0] * before)
    for _ in range(at_once):
        count = count.after(1, START, RULES)
        waited_s += (count.blocked_until - START).total_seconds() if count.blocked_until else 0.0
    found = count_after([0.0] * before).after(at_once, START, RULES)
    assert (found.level, found.strikes) == (count.level, count.strikes)
    assert found.blocked_until == (START + timedelta(seconds=waited_s) if waited_s else None)


def test_failures_at_once_are_one_strike_where_the_rules_say_so():
    rules = AttemptRules(free_in_an_hour=30, longest_wait_s=3600.0, is_each_a_strike=False)
    count = FailureCount(0.0, 0, START).after(64, START, rules)
    assert (count.strikes, count.blocked_until) == (1, START + timedelta(seconds=60))
    assert count.after(64, START, rules).blocked_until == START + timedelta(seconds=120)


def test_patient_attacker_gets_few_tries_in_a_day():
    count, now, tries = FailureCount(0.0, 0, START), START, 0
    while now < START + timedelta(days=1):
        tries += 1
        count = count.after(1, now, RULES)
        now = count.blocked_until or now
    assert tries < 70  # at a false match rate of 1e-3 one of them succeeds on 7 % of days


def test_count_is_forgotten_after_a_day_without_a_failure_and_not_before():
    count = count_after([0.0] * 40)
    assert count.after(1, START + timedelta(hours=23), RULES).blocked_until is not None
    assert count.after(1, START + timedelta(hours=24), RULES) == FailureCount(1.0, 0, START + timedelta(hours=24))


def test_clock_that_is_set_back_takes_no_failure_away():
    later = count_after([5000.0] * 30)
    assert later.after(1, START, RULES).blocked_until is not None
    assert math.isfinite(later.after(1, START, RULES).level)


@pytest.mark.parametrize("target", ["ada", Searches.IDENTIFY, Searches.ENROLL])
def test_attempts_beyond_what_is_free_are_refused_with_the_time_to_wait(store: Store, target: str | Searches):
    failing(store, 2, target)
    store.attempts.admit("k", "t", target)
    failing(store, 1, target)
    with pytest.raises(TooManyAttemptsError) as refused:
        store.attempts.admit("k", "t", target)
    assert refused.value.retry_after_s == pytest.approx(60, abs=20)
    assert refused.value.value == (target if isinstance(target, str) else None)


def test_admit_says_whether_the_next_failure_leads_to_a_wait(store: Store):
    assert not store.attempts.admit("k", "t", "ada")
    failing(store, 2)
    assert not store.attempts.admit("k", "t", "ada")
    failing(store, 1)
    now = datetime.now(UTC)
    with store._engine.begin() as connection:  # as if the wait had passed, and then a day
        connection.execute(update(AttemptRow).values(blocked_until=now - timedelta(hours=1)))
    assert store.attempts.admit("k", "t", "ada")
    with store._engine.begin() as connection:
        connection.execute(update(AttemptRow).values(updated_at=now - timedelta(hours=25)))
    assert not store.attempts.admit("k", "t", "ada")


def test_attempts_of_other_keys_subjects_tenants_and_searches_are_let_in(store: Store):
    failing(store, 9)
    for key, tenant, target in [
        ("other", "t", "ada"),
        ("k", "t", "ben"),
        ("k", "other", "ada"),
        ("k", "t", "nobody"),
        ("k", "t", Searches.IDENTIFY),
    ]:
        assert store.attempts.wait_s(key, tenant, target) == 0.0
    assert store.attempts.wait_s("k", "t", "ada") > 0


def test_failures_are_counted_across_restarts(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    for _ in range(3):
        with opened_store(url) as store:
            if not store.subjects("t", 1, None):
                store.add_templates("t", "ada", "voice", "1", np.eye(1, 8, dtype=np.float32))
            store.attempts.admit("k", "t", "ada")
            failing(store, 1)
    with opened_store(url) as store, pytest.raises(TooManyAttemptsError):
        store.attempts.admit("k", "t", "ada")


def test_near_misses_are_counted_of_subjects_that_need_not_wait_and_the_others_named(store: Store):
    failing(store, 3, "ada")
    before = store.attempts.wait_s("k", "t", "ada")
    assert store.attempts.waiting("k", "t") == {"ada"}
    assert store.attempts.waiting("k", "other") == store.attempts.waiting("other", "t") == set()
    assert store.attempts.note_near("k", "t", {"ada": 5, "ben": 2, "nobody": 1}, FEW) == {"ada"}
    assert store.attempts.wait_s("k", "t", "ada") <= before
    assert store.attempts.note_near("k", "t", {"ben": 1}, FEW) == set()
    assert store.attempts.waiting("k", "t") == {"ada", "ben"}


def test_failure_of_a_subject_that_is_gone_is_not_kept(store: Store):
    failing(store, 9, "nobody")
    assert rows(store) == 0


def test_counts_that_nobody_asks_for_are_removed_by_the_next_failure(store: Store):
    failing(store, 1, "ben")
    with store._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE attempts SET updated_at = '2026-01-01 00:00:00.000000'")
    failing(store, 1)
    assert rows(store) == 1


def rows(store: Store) -> int:
    with store._engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM attempts").scalar_one())


def test_attempts_use_the_clock_of_the_database(store: Store):
    assert isinstance(store.attempts, Attempts)
    failing(store, 3)
    with Session(store.engines[0]) as session, session.begin():  # as if an hour had passed there
        for row in session.scalars(select(AttemptRow)):
            row.blocked_until -= timedelta(hours=1)
    store.attempts.admit("k", "t", "ada")
