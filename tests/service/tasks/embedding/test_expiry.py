"""Expiry: who has expired is in no answer, hides nobody, and is deleted by a sweeper that mistrusts jumping clocks."""

import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from matchka.app import opened_verifier
from matchka.errors import StorageFailedError, UnknownSubjectError
from matchka.settings import Settings
from matchka.store.rights.terms import TermsChange
from matchka.tasks.embedding.enrolment import EnrolmentRules
from matchka.tasks.embedding.expiry import MOST_AT_ONCE, MOST_FORGOTTEN, ClockWatch, ExpirySweeper, Kept
from matchka.tasks.embedding.verifier import Verifier
from tests.factories.samples import sample

QUIETLY = EnrolmentRules(tells_similar=False)
TENANT = "default"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
KEPT = Kept(deletions=timedelta(days=30), changes=timedelta(hours=24), answers=timedelta(hours=12))
WAIT_S = 60.0


@pytest.fixture
def verifier(settings: Settings) -> Iterator[Verifier]:
    with opened_verifier(settings) as opened:
        opened.load()
        yield opened


@pytest.fixture
def database(settings: Settings) -> Path:
    return settings.data_dir / "matchka.sqlite"


def enrol(verifier: Verifier, name: str, person: int, take: int = 0) -> None:
    terms = TermsChange(expires_at=datetime(2090, 1, 1, tzinfo=UTC))
    verifier.enroll(TENANT, "voice", name, [sample(person, take)], rules=QUIETLY, terms=terms)


def expire(database: Path, where: str) -> None:
    connection = sqlite3.connect(database)
    connection.execute(f"UPDATE subjects SET expires_at = '2001-01-01 00:00:00.000000' WHERE {where}")
    connection.commit()
    connection.close()


def test_expired_subject_is_in_no_answer_before_any_sweep(verifier: Verifier, database: Path):
    enrol(verifier, "ada", 1)
    enrol(verifier, "ben", 2)
    assert verifier.verify(TENANT, "voice", "ada", sample(1, 1), None, 1e-3).decision.match
    expire(database, "subject_id = 'ada'")
    with pytest.raises(UnknownSubjectError):
        verifier.verify(TENANT, "voice", "ada", sample(1, 1), None, 1e-3)
    found = verifier.identify(TENANT, "voice", sample(1, 1), 100, None, 0.01)
    assert [one.subject_id for one in found.candidates] == ["ben"]
    assert "ada" not in found.near
    enrolled = verifier.enroll(TENANT, "voice", "same person", [sample(1, 2)])
    assert "ada" not in {*enrolled.near, *(one.subject_id for one in enrolled.similar_subjects or ())}


def test_crowd_of_expired_subjects_hides_nobody_from_a_search(verifier: Verifier, database: Path):
    for number in range(40):  # all of them more like the probe than whoever is looked for
        enrol(verifier, f"crowd-{number}", 1, number)
    enrol(verifier, "ada", 1, 99)
    for number in range(3):
        enrol(verifier, f"other-{number}", 5 + number)
    expire(database, "subject_id LIKE 'crowd-%'")
    for take in range(0, 40, 8):
        found = verifier.identify(TENANT, "voice", sample(1, take), 2, None, 0.01)
        assert found.match == "ada"
        assert len(found.candidates) == 2


def test_sweep_deletes_from_store_and_galleries(verifier: Verifier, database: Path):
    for number in range(3):
        enrol(verifier, f"p{number}", number)
    expire(database, "subject_id <> 'p1'")
    assert verifier.gallery_sizes() == {(TENANT, "voice"): 3}
    ExpirySweeper(verifier, KEPT).sweep()
    assert verifier.gallery_sizes() == {(TENANT, "voice"): 1}
    assert [one.subject_id for one in verifier.subjects(TENANT, 10, None)] == ["p1"]
    left = b"".join(path.read_bytes() for path in database.parent.iterdir() if path.is_file())
    assert b"p1" in left
    assert b"p2" not in left


def test_enrolment_of_an_expired_id_takes_the_old_one_out_of_the_gallery(verifier: Verifier, database: Path):
    enrol(verifier, "ada", 1)
    expire(database, "subject_id = 'ada'")
    enrol(verifier, "ada", 2)
    assert verifier.gallery_sizes() == {(TENANT, "voice"): 1}
    (new,) = verifier.identify(TENANT, "voice", sample(2), 5, None, 0.01).candidates
    (old,) = verifier.identify(TENANT, "voice", sample(1), 5, None, 0.01).candidates
    assert new.similarity == pytest.approx(1.0, abs=1e-5)
    assert old.similarity < 0.999


class Subjects:
    """Subjects to be swept, with a clock that is set by hand."""

    def __init__(self, due: int, old: int = 0, changes: int = 0) -> None:
        self.database_time = NOON
        self.due, self.old, self.changes = due, old, changes
        self.old_answers = 0
        self.failures = 0
        self.calls = 0
        self.is_done = threading.Event()

    def delete_expired(self, most: int) -> int:
        self.calls += 1
        if self.failures:
            self.failures -= 1
            raise StorageFailedError("busy", remedy="wait")
        done = min(most, self.due)
        self.due -= done
        if not self.due:
            self.is_done.set()
        return done

    def forget_old_deletions(self, older_than: timedelta, most: int) -> int:
        assert older_than == KEPT.deletions
        done = min(most, self.old)
        self.old -= done
        return done

    def forget_old_changes(self, older_than: timedelta, most: int) -> int:
        assert older_than == KEPT.changes
        done = min(most, self.changes)
        self.changes -= done
        return done

    def forget_old_answers(self, older_than: timedelta, most: int) -> int:
        assert older_than == KEPT.answers
        done = min(most, self.old_answers)
        self.old_answers -= done
        return done


def test_round_takes_old_changes_off_the_feed_and_the_next_one_comes_soon_while_there_are_more():
    subjects = Subjects(due=0, changes=MOST_FORGOTTEN + 1)
    sweeper = ExpirySweeper(subjects, KEPT, lambda: 0.0)
    assert [(sweeper.sweep(), subjects.changes) for _ in range(2)] == [(1.0, 1), (60.0, 0)]


def test_round_deletes_no_more_than_a_bound_and_the_next_one_comes_soon_while_more_is_due():
    subjects = Subjects(due=2 * MOST_AT_ONCE + 1, old=MOST_FORGOTTEN)
    sweeper = ExpirySweeper(subjects, KEPT, lambda: 0.0)
    assert [(sweeper.sweep(), subjects.due, subjects.old) for _ in range(4)] == [
        (1.0, MOST_AT_ONCE + 1, 0),
        (1.0, 1, 0),
        (60.0, 0, 0),
        (60.0, 0, 0),
    ]


def test_round_forgets_no_more_answers_than_a_bound_and_the_next_one_comes_soon():
    subjects = Subjects(due=0)
    subjects.old_answers = MOST_FORGOTTEN + 1
    sweeper = ExpirySweeper(subjects, KEPT, lambda: 0.0)
    assert [(sweeper.sweep(), subjects.old_answers) for _ in range(2)] == [(1.0, 1), (60.0, 0)]


def test_nothing_is_deleted_until_a_clock_that_jumped_ahead_has_stayed_for_an_hour():
    subjects, seconds = Subjects(due=1, old=1), [0.0]
    sweeper = ExpirySweeper(subjects, KEPT, lambda: seconds[0])
    subjects.due = 0
    sweeper.sweep()
    subjects.due = subjects.old = 5
    subjects.database_time += timedelta(days=365)
    for minute in range(1, 60):
        seconds[0] = 60.0 * minute
        assert sweeper.sweep() == 60.0
        subjects.database_time += timedelta(minutes=1)
    assert (subjects.due, subjects.old) == (5, 5)
    seconds[0] = 3660.0
    sweeper.sweep()
    assert (subjects.due, subjects.old) == (0, 0)


def test_clock_that_was_wrong_for_a_while_deletes_nothing():
    watch = ClockWatch()
    assert watch.is_trusted(NOON, 0.0)
    assert not watch.is_trusted(NOON + timedelta(days=9), 60.0)
    assert not watch.is_trusted(NOON + timedelta(minutes=2), 120.0)  # right again
    assert watch.is_trusted(NOON + timedelta(minutes=61), 3660.0)


def test_clock_that_keeps_pace_or_is_set_back_is_believed():
    watch = ClockWatch()
    now, seconds = NOON, 0.0
    for step in (60.0, 60.0 + 290.0, -86_400.0, 1.0, 3600.0):
        assert watch.is_trusted(now, seconds)
        now, seconds = now + timedelta(seconds=step), seconds + max(60.0, step)


def test_sweeper_begins_at_once_goes_on_after_a_failure_and_ends_when_closed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("matchka.tasks.embedding.expiry.ROUND_S", 0.01)
    subjects = Subjects(due=1)
    subjects.failures = 2
    sweeper = ExpirySweeper(subjects, KEPT)
    sweeper.start()
    assert subjects.is_done.wait(WAIT_S)
    sweeper.close()
    calls = subjects.calls
    assert calls >= 3
    sweeper.close()
    assert subjects.calls == calls


def test_sweeper_that_never_began_can_be_closed():
    ExpirySweeper(Subjects(due=0), KEPT).close()
