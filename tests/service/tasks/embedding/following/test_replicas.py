"""Two replicas on one database show each other's people: at once to who hands over a position, soon to everybody."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from matchka.errors import GalleryStaleError, LikelyDuplicateError, PositionError
from matchka.store.feed.snapshot import Position, Snapshot
from matchka.tasks.embedding.enrolment import EnrolmentRules
from matchka.tasks.embedding.results import Identified
from matchka.tasks.embedding.verifier import Verifier
from tests.factories.databases import UnderTest
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
    for number in range(60):
        enrol(here, f"s{number}", number)
    there.wait_for(here.position)
    with there._follower.applying:
        order = names(identify(there, 3, top_k=60))
        gone, left = set(order[:50]), order[50:]
        for name in gone:
            here.delete_subject(TENANT, name)
        found = identify(there, 3, top_k=5)
        assert names(found) == left[:5]
        assert found.gallery_size == 10
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
