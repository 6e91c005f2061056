"""A review within an enrolment's transaction: it sees what is there, and what it refuses is not stored."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from matchka.errors import DiffersFromSubjectError, DuplicateSampleError, LikelyDuplicateError, MatchkaError
from matchka.store.enrolment_review import Files, Review
from matchka.store.records import Reference, StoredEmbedding
from matchka.store.store import Store, opened_store
from tests.factories.unit_vectors import unit_vectors

OF = ("t", "ada", "voice", "1")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened_store(f"sqlite:///{tmp_path / 'store.sqlite'}") as opened:
        yield opened


def units(count: int, seed: int) -> np.ndarray:
    return unit_vectors(count, seed, dim=8)


def differs(_held: Sequence[StoredEmbedding], new: Mapping[int, StoredEmbedding]) -> dict[int, MatchkaError]:
    """Refuses the odd places."""
    return {place: DiffersFromSubjectError(f"place {place}", remedy="None.") for place in new if place % 2}


def test_review_sees_the_templates_of_the_version_and_the_new_ones_apart(store: Store):
    seen: list[tuple[list[StoredEmbedding], dict[int, StoredEmbedding]]] = []

    def look(held: Sequence[StoredEmbedding], new: Mapping[int, StoredEmbedding]) -> dict[int, MatchkaError]:
        seen.append((list(held), dict(new)))
        return {}

    store.add_templates(*OF, units(2, 1), [3, 4], [1.5, 2.5])
    store.add_templates(*OF[:3], "2", units(1, 7))  # another version
    store.add_templates(*OF, units(1, 2), [5], [3.5], review=Review(compare=look))
    ((held, new),) = seen
    np.testing.assert_array_equal(sorted(one.vector.tolist() for one in held), sorted(units(2, 1).tolist()))
    assert sorted((one.row_count, one.condition) for one in held) == [(3, 1.5), (4, 2.5)]
    assert list(new) == [0]
    np.testing.assert_array_equal(new[0].vector, units(1, 2)[0])


def test_first_refusal_refuses_all_and_nothing_is_stored(store: Store):
    with pytest.raises(DiffersFromSubjectError, match="place 1") as refused:
        store.add_templates(*OF, units(4, 1), review=Review(compare=differs))
    assert refused.value.failed_tries == 1
    assert store.subjects("t", 9, None) == []


def test_skipping_review_stores_the_rest_and_says_why_of_the_others(store: Store):
    rows = np.concatenate([units(4, 1), units(4, 1)[:1]])  # the last is a copy of the first
    enrolment = store.add_templates(*OF, rows, [1, 2, 3, 4, 5], review=Review(compare=differs, skips=True))
    assert {place: type(error) for place, error in enrolment.refused.items()} == {
        1: DiffersFromSubjectError,
        3: DiffersFromSubjectError,
        4: DuplicateSampleError,
    }
    assert [one.template_id for one in store.subject("t", "ada").templates] == sorted(
        enrolment.template_ids, key=[one.template_id for one in store.subject("t", "ada").templates].index
    )
    reference = store.reference(*OF)
    assert (reference.template_count, reference.row_count) == (2, 1 + 3)
    np.testing.assert_allclose(reference.embedding, rows[[0, 2]].mean(axis=0), atol=1e-6)


def test_skipping_review_that_leaves_nothing_refuses_all_and_counts_every_sample_that_differs(store: Store):
    store.add_templates(*OF, units(1, 1))
    rows = np.concatenate([units(1, 1), units(3, 2)])

    def all_differ(_held: object, new: Mapping[int, StoredEmbedding]) -> dict[int, MatchkaError]:
        return {place: DiffersFromSubjectError("no", remedy="None.") for place in new}

    with pytest.raises(DiffersFromSubjectError) as refused:  # not the copy in the first place, which would not count
        store.add_templates(*OF, rows, review=Review(compare=all_differ, skips=True))
    assert refused.value.failed_tries == 3
    assert store.reference(*OF).template_count == 1


def test_files_are_called_by_their_places_in_the_call(store: Store):
    store.add_templates(*OF, units(1, 1))
    review = Review(files=Files((2, 5), 6))
    with pytest.raises(DuplicateSampleError, match="File 5 of 6"):
        store.add_templates(*OF, np.concatenate([units(1, 3), units(1, 1)]), review=review)


def test_reference_that_is_not_accepted_leaves_the_subject_as_it_was(store: Store):
    def accept(reference: Reference) -> None:
        assert (reference.subject_id, reference.template_count) == ("ada", 3)
        raise LikelyDuplicateError("no", remedy="None.")

    store.add_templates(*OF, units(1, 1))
    with pytest.raises(LikelyDuplicateError):
        store.add_templates(*OF, units(2, 2), review=Review(accept=accept))
    np.testing.assert_array_equal(store.reference(*OF).embedding, units(1, 1)[0])


def test_of_enrolments_at_once_each_is_reviewed_with_what_all_before_it_stored(store: Store):
    counts: list[int] = []
    together = Barrier(4, timeout=60)

    def enrol(seed: int) -> None:
        def look(held: Sequence[StoredEmbedding], _new: object) -> dict[int, MatchkaError]:
            counts.append(len(held))
            return {}

        together.wait()
        for number in range(5):
            store.add_templates(*OF, units(1, 100 * seed + number), review=Review(compare=look))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(enrol, range(4)))
    assert counts == list(range(20))
