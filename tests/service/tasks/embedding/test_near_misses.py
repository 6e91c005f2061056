"""Near misses: whom a search does not find, and would at ten times the rate."""

import itertools
from collections.abc import Iterator

import pytest

from matchka.app import opened_verifier
from matchka.tasks.embedding.verifier import Verifier
from tests.factories.bundles import write_bundle
from tests.factories.samples import sample
from tests.factories.small_server import small_settings

PEOPLE = range(12)


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verifier]:
    folder = tmp_path_factory.mktemp("near")
    write_bundle(folder / "models" / "voice")
    with opened_verifier(small_settings(folder)) as opened:
        opened.load()
        for person in PEOPLE:
            opened.enroll("t", "voice", f"p{person}", [sample(person)], tells_similar=False)
        yield opened


def test_near_miss_of_a_search_is_its_first_candidate_where_it_would_match_at_ten_times_the_rate(verifier: Verifier):
    seen = set()
    for person, max_fpir in itertools.product(range(100, 130), (0.1, 0.01, 1e-3)):
        found = verifier.identify("t", "voice", sample(person), 5, None, max_fpir)
        lenient = verifier.identify("t", "voice", sample(person), 5, None, min(0.5, 10 * max_fpir))
        expected = lenient.match if found.match is None else None
        assert found.near == expected
        seen.add((found.match is None, expected is None))
    assert len(seen) == 3  # found, nearly found, and far from everybody


def test_near_misses_of_an_enrolment_are_neither_similar_nor_itself(verifier: Verifier):
    for person in range(200, 220):
        enrolled = verifier.enroll("t", "voice", f"p{person}", [sample(person)])
        similar = {one.subject_id for one in enrolled.similar_subjects or ()}
        assert not similar & set(enrolled.near)
        assert f"p{person}" not in enrolled.near
