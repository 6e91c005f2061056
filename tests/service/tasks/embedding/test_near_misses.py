"""Near misses: whom a search does not find, and would at ten times the rate."""

import itertools
from collections.abc import Iterator

import pytest

from matchka.app import opened_verifier
from matchka.tasks.embedding.enrolment import EnrolmentRules
from matchka.tasks.embedding.verifier import Verifier
from tests.factories.bundles import write_bundle
from tests.factories.samples import sample
from tests.factories.small_server import small_settings

PEOPLE = range(12)
QUIETLY = EnrolmentRules(tells_similar=False)


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verifier]:
    folder = tmp_path_factory.mktemp("near")
    write_bundle(folder / "models" / "voice")
    with opened_verifier(small_settings(folder)) as opened:
        opened.load()
        for person in PEOPLE:
            opened.enroll("t", "voice", f"p{person}", [sample(person)], rules=QUIETLY)
        yield opened


def test_near_misses_of_a_search_are_all_that_would_match_at_ten_times_the_rate(verifier: Verifier):
    seen = set()
    for person, max_fpir in itertools.product(range(100, 130), (0.1, 0.01, 1e-3)):
        found = verifier.identify("t", "voice", sample(person), 1, None, max_fpir)
        lenient = verifier.identify("t", "voice", sample(person), 100, None, min(0.5, 10 * max_fpir))
        expected = {one.subject_id for one in lenient.candidates if one.similarity >= one.threshold.value}
        assert found.near == expected
        assert found.missed == expected - {found.match}
        seen.add((found.match is None, bool(found.missed)))
    assert len(seen) == 3  # found beside others, nearly found, and far from everybody


def test_search_without_a_subject_is_that_of_a_gallery_which_does_not_have_it(verifier: Verifier):
    probe = sample(3, 1)
    found = verifier.identify("t", "voice", probe, 100, None, 0.01)
    assert found.match == "p3"
    rest = found.without({"p3"})
    assert rest.candidates == [one for one in found.candidates if one.subject_id != "p3"]
    first = rest.candidates[0]
    assert rest.match == (first.subject_id if first.similarity >= first.threshold.value else None)
    assert rest.near == found.near - {"p3"}
    nobody = found.without({one.subject_id for one in found.candidates})
    assert (nobody.match, nobody.candidates, nobody.near) == (None, [], frozenset())


def test_near_misses_of_an_enrolment_are_neither_the_most_similar_nor_itself(verifier: Verifier):
    for person in range(200, 220):
        enrolled = verifier.enroll("t", "voice", f"p{person}", [sample(person)])
        similar = [one.subject_id for one in enrolled.similar_subjects or ()]
        assert not set(similar[:1]) & set(enrolled.near)
        assert set(similar[1:]) <= set(enrolled.near)
        assert f"p{person}" not in enrolled.near
