"""Two replicas on one database show each other's people: at once to who hands over a position, soon to everybody."""

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from matchka.errors import (
    DuplicateSampleError,
    GalleryStaleError,
    LikelyDuplicateError,
    PositionError,
    UnknownSubjectError,
)
from matchka.store.feed.snapshot import Position, Snapshot
from matchka.tasks.embedding.enrolment import EnrolmentRules
from matchka.tasks.embedding.results import Identified
from matchka.tasks.embedding.verifier import Verifier
from tests.factories.bundles import VERSION
from tests.factories.databases import ServerUnderTest, UnderTest
from tests.factories.replicas import PATIENCE_S, Open, replicas
from tests.factories.samples import sample

TENANT = "default"
QUIETLY = EnrolmentRules(tells_similar=False)


@pytest.fixture
def another(tmp_path: Path, database: UnderTest) -> Iterator[Open]:
    with replicas(tmp_path, database.url) as opener:
        yield opener


def enrol(verifier: Verifier, name: str, person: int, take: int = 0) -> Position:
    position = verifier.enroll(TENANT, "voice", name, [sample(person, take)], rules=QUIETLY).position
    assert position is not None
    return position


def identify(verifier: Verifier, person: int, take: int = 1, top_k: int = 5) -> Identified:
    return verifier.identify(TENANT, "voice", sample(person, take), top_k, None, 1e-2)


def names(found: Identified) -> list[str]:
    return [one.subject_id for one in found.candidates]


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.005)


def test_enrolment_and_deletion_on_one_replica_show_on_the_other_when_their_position_is_handed_over(another: Open):
    here, there = another(), another()
    for person in range(8):
        there.wait_for(enrol(here, f"p{person}", person))
        found = identify(there, person)
        assert (names(found)[0], found.gallery_size) == (f"p{person}", person + 1)
    for person in range(8):
        position = here.delete_subject(TENANT, f"p{person}")
        assert position is not None
        there.wait_for(position)
        found = identify(there, person)
        assert f"p{person}" not in names(found)
        assert found.gallery_size == 7 - person


def test_change_of_another_replica_shows_without_a_position_soon(another: Open):
    here, there = another(), another()
    enrol(here, "ada", 1)
    wait_until(lambda: names(identify(there, 1)) == ["ada"])
    (template,) = here.subject(TENANT, "ada").templates
    here.delete_template(TENANT, template.template_id)
    assert names(identify(there, 1)) == []
    wait_until(lambda: there.gallery_sizes() == {(TENANT, "voice"): 0})


def test_follower_that_is_stopped_shows_nobody_who_was_deleted_and_still_as_many_candidates(another: Open):
    here, there = another(), another()
    for number in range(24):
        enrol(here, f"s{number}", number)
    there.wait_for(here.position)
    with there._follower.applying:
        order = names(identify(there, 3, top_k=24))
        gone, left = set(order[:18]), order[18:]
        for name in gone:
            here.delete_subject(TENANT, name)
        found = identify(there, 3, top_k=5)
        assert names(found) == left[:5]
        assert found.gallery_size == 6
        assert found.threshold == identify(here, 3, top_k=5).threshold


def test_similarity_of_a_reference_that_has_changed_is_that_of_the_store(another: Open):
    here, there = another(), another()
    enrol(here, "ada", 1, take=0)
    spoilt = here.enroll(TENANT, "voice", "ada", [sample(9)], rules=EnrolmentRules(must_agree=False))
    there.wait_for(here.position)
    with there._follower.applying:
        here.delete_template(TENANT, spoilt.template_ids[0])
        (stale,) = identify(there, 1, take=0).candidates
    assert stale.similarity == pytest.approx(1.0, abs=1e-5)


def test_position_that_is_not_reached_in_time_or_of_another_store_is_refused(tmp_path: Path, database: UnderTest):
    with replicas(tmp_path, database.url, wait_s=0.05) as another:
        here, there = another(), another()
        position = enrol(here, "ada", 1)
        with there._follower.applying:
            later = Position(position.store, Snapshot(position.snapshot.next_id + 1000))
            with pytest.raises(GalleryStaleError):
                there.wait_for(later)
        with pytest.raises(PositionError):
            there.wait_for(Position("0" * 8, position.snapshot))


def test_failure_between_commit_and_gallery_is_made_good_by_itself(another: Open, monkeypatch: pytest.MonkeyPatch):
    here, there = another(), another()
    with monkeypatch.context() as broken:
        for replica in (here, there):
            broken.setattr(replica._galleries, "apply", _fail)
            broken.setattr(replica._follower, "_rules", type(replica._follower._rules)(wait_s=0.05))
        assert here.enroll(TENANT, "voice", "ada", [sample(1)], rules=QUIETLY).position is not None
        assert names(identify(here, 1)) == names(identify(there, 1)) == []
    for replica in (here, there):
        wait_until(lambda replica=replica: names(identify(replica, 1)) == ["ada"])


def _fail(_changes: object, _look: object) -> None:
    raise RuntimeError("no memory left, say")


def test_ready_replica_that_stops_to_follow_says_so_and_is_ready_again_after_it(tmp_path: Path, database: UnderTest):
    with replicas(tmp_path, database.url, stale_s=0.5) as another:
        here = another()
        here.require_fresh()
        with here._follower.applying:
            wait_until(lambda: here.following.is_stale)
            with pytest.raises(GalleryStaleError):
                here.require_fresh()
            assert here.following.lag_s > 0.5
        wait_until(lambda: not here.following.is_stale)


def test_two_enrolments_of_one_person_at_once_where_duplicates_are_refused_store_one(another: Open):
    refusing = EnrolmentRules(refuses_duplicates=True)

    def enrolled(replica: Verifier, take: int) -> bool:
        try:
            replica.enroll(TENANT, "voice", f"take {take}", [sample(1, take)], rules=refusing)
        except LikelyDuplicateError:
            return False
        return True

    both = (another(), another())
    with ThreadPoolExecutor(2) as at_once:
        for _ in range(4):
            assert sorted(at_once.map(enrolled, both, (1, 2))) == [False, True]
            (stored,) = both[0].subjects(TENANT, 10, None)
            both[0].delete_subject(TENANT, stored.subject_id)


def galleries_equal_the_store(*all_replicas: Verifier) -> None:
    """Hold that each gallery has the store's references, vector by vector."""
    for replica in all_replicas:
        assert replica._follower.catch_up()
        held = {}
        for batch in replica._store.all_references("voice", VERSION):
            held |= dict(zip(batch.keys.tolist(), batch.rows(), strict=True))
        gallery = replica._galleries.of(TENANT, replica.models.current("voice"))
        assert (len(gallery), gallery.count_of(list(held))) == (len(held), len(held))
        for key, vector in held.items():
            assert gallery.search(vector, len(vector), 1)[0].similarity == pytest.approx(1.0, abs=1e-6)
            assert key in {hit.subject_key for hit in gallery.search(vector, len(vector), 3)}


def test_store_of_another_identity_has_the_galleries_filled_anew(another: Open, database: UnderTest):
    here = another()
    position = enrol(here, "ada", 1)
    enrol(here, "ben", 2)
    for table in ("subject_references", "templates"):  # as a restore does, which notes no changes
        database.change(f"DELETE FROM {table} WHERE subject_key IN (SELECT min(key) FROM subjects)")
    database.change("UPDATE store_identity SET identity = '00000000000000000000000000000000'")
    wait_until(lambda: here.gallery_sizes() == {(TENANT, "voice"): 1})
    galleries_equal_the_store(here)
    with pytest.raises(PositionError):
        here.wait_for(position)
    assert str(here.position).startswith("00000000-")


def test_follower_that_slept_for_longer_than_changes_are_kept_fills_anew(another: Open):
    here, there = another(), another()
    with there._follower.applying:
        for person in range(4):
            enrol(here, f"p{person}", person)
        here.delete_subject(TENANT, "p0")
        assert here.forget_old_changes(timedelta(hours=-1), 1000) == 5
    wait_until(lambda: there.gallery_sizes() == {(TENANT, "voice"): 3})
    galleries_equal_the_store(here, there)


def test_replica_whose_connections_are_lost_catches_up_when_the_database_is_back(tmp_path: Path, postgres_url: str):
    with replicas(tmp_path, postgres_url) as another:
        here, there = another(), another()
        enrol(here, "ada", 1)
        database = ServerUnderTest(postgres_url)
        for person in range(2, 6):
            database.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'matchka'")
            wait_until(lambda person=person: _is_enrolled(here, f"p{person}", person))
        wait_until(lambda: there.gallery_sizes() == {(TENANT, "voice"): 5})
        wait_until(lambda: _are_equal_to_the_store(here, there))


def _are_equal_to_the_store(*all_of_them: Verifier) -> bool:
    """Unless one meets a connection that was cut while nobody used it."""
    with contextlib.suppress(SQLAlchemyError):
        galleries_equal_the_store(*all_of_them)
        return True
    return False


def _is_enrolled(replica: Verifier, name: str, person: int) -> bool:
    with contextlib.suppress(SQLAlchemyError, DuplicateSampleError):  # the latter where the answer alone was lost
        replica.enroll(TENANT, "voice", name, [sample(person)], rules=QUIETLY)
    with contextlib.suppress(SQLAlchemyError, UnknownSubjectError):
        return bool(replica.subject(TENANT, name).templates)
    return False


def test_replica_that_hardly_looks_is_told_by_a_notification(tmp_path: Path, postgres_url: str):
    with replicas(tmp_path, postgres_url, poll_ms=60_000) as another:
        here, there = another(), another()
        begun = time.monotonic()
        for person in range(3):
            enrol(here, f"p{person}", person)
            wait_until(lambda size=person + 1: there.gallery_sizes().get((TENANT, "voice")) == size)
        assert time.monotonic() - begun < PATIENCE_S  # else a look may have found it


def both_change(here: Verifier, there: Verifier, rounds: int) -> None:
    """Enrol or delete on one, then search on the other with the position, and hold that it is right each time."""
    chance = random.Random(rounds)
    held: set[str] = set()
    for _ in range(rounds):
        one, other = chance.sample((here, there), 2)
        person = chance.randrange(20)
        name = f"p{person}"
        if name in held:
            position = one.delete_subject(TENANT, name)
            held.remove(name)
        else:
            position = enrol(one, name, person)
            held.add(name)
        assert position is not None
        other.wait_for(position)
        found = identify(other, person, top_k=20)
        assert set(names(found)) == held
        assert found.gallery_size == len(held)


def test_each_change_shows_on_the_other_replica_to_who_knows_its_position(another: Open):
    here, there = another(), another()
    both_change(here, there, 40)
    galleries_equal_the_store(here, there)


@pytest.mark.slow
def test_each_of_a_thousand_changes_shows_on_the_other_replica_to_who_knows_its_position(another: Open):
    here, there = another(), another()
    both_change(here, there, 1000)
    galleries_equal_the_store(here, there)


@pytest.mark.slow
def test_replicas_that_write_at_once_agree_with_the_store_vector_by_vector(another: Open):
    both = (another(), another())

    def write(writer: int) -> None:
        chance = random.Random(writer)
        for number in range(60):
            name, person = f"p{chance.randrange(12)}", chance.randrange(12)
            replica = both[number % 2]
            rules = EnrolmentRules(must_agree=False, tells_similar=False)
            with contextlib.suppress(UnknownSubjectError, DuplicateSampleError):
                if chance.random() < 0.6:
                    take = 100 * writer + number
                    replica.enroll(TENANT, "voice", name, [sample(person, take)], rules=rules)
                else:
                    replica.delete_subject(TENANT, name)

    with ThreadPoolExecutor(6) as writers:
        list(writers.map(write, range(6)))
    galleries_equal_the_store(*both)


def test_position_that_asks_for_a_running_transaction_is_reached_when_that_ends(tmp_path: Path, postgres_url: str):
    with replicas(tmp_path, postgres_url) as another, ThreadPoolExecutor(1) as elsewhere:
        here = another()
        engine = create_engine(postgres_url)
        with engine.connect() as running:
            running.exec_driver_sql("SELECT pg_current_xact_id()")
            told = enrol(here, "ada", 1)
            assert told.snapshot.running
            waiting = elsewhere.submit(here.wait_for, Position(told.store, Snapshot(told.snapshot.next_id)))
            wait_until(lambda: here._follower._asked > 1)
            assert not waiting.done()
            running.rollback()
            waiting.result(PATIENCE_S)
        engine.dispose()
