"""Whatever is put, replaced, removed and searched, the gallery answers as brute force does."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import DimensionError
from service.gallery.flat import FlatGallery
from service.gallery.gallery import Candidate

FULL_DIM, DIMS = 12, (1, 3, 8, 12)


def brute_force(held: dict[int, np.ndarray], probe: np.ndarray, dim: int) -> dict[int, float]:
    """Cosines in float64, one subject at a time."""
    query = probe[:dim].astype(np.float64)
    cosines = {}
    for key, reference in held.items():
        own = reference[:dim].astype(np.float64)
        cosines[key] = float(query @ own / np.sqrt((query @ query) * (own @ own)))
    return cosines


def check(found: list[Candidate], expected: dict[int, float], top_k: int) -> None:
    """The best top_k, most similar first; candidates that tie within rounding may change places."""
    assert len(found) == min(top_k, len(expected))
    assert len({c.subject_key for c in found}) == len(found)
    best = sorted(expected.values(), reverse=True)[: len(found)]
    np.testing.assert_allclose([c.similarity for c in found], best, atol=2e-6)
    np.testing.assert_allclose([c.similarity for c in found], [expected[c.subject_key] for c in found], atol=2e-6)
    order = [(-c.similarity, c.subject_key) for c in found]
    assert order == sorted(order)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sets(st.integers(0, 9), min_size=1, max_size=4)),
        st.tuples(st.just("remove"), st.integers(0, 10)),
        st.tuples(st.just("search"), st.tuples(st.sampled_from(DIMS), st.integers(1, 12))),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(0, 2**32 - 1))
def test_gallery_after_any_sequence_of_changes_answers_as_brute_force(steps: list, seed: int):
    rng = np.random.default_rng(seed)
    gallery, held = FlatGallery(FULL_DIM), {}
    for action, given_value in [*steps, *(("search", (dim, 20)) for dim in DIMS)]:
        if action == "put":
            keys = sorted(given_value, key=lambda _: rng.random())
            references = (rng.normal(size=(len(keys), FULL_DIM)) * rng.uniform(0.1, 9)).astype(np.float32)
            gallery.put(keys, references)
            held.update(zip(keys, references, strict=True))
        elif action == "remove":
            gallery.remove(given_value)
            held.pop(given_value, None)
        else:
            dim, top_k = given_value
            probe = rng.normal(size=FULL_DIM).astype(np.float32) * 5
            check(gallery.search(probe, dim, top_k), brute_force(held, probe, dim), top_k)
        assert len(gallery) == len(held)


@pytest.mark.parametrize("dim", DIMS)
def test_search_at_a_smaller_dim_ranks_by_the_cosine_of_prefixes_and_not_of_the_whole(dim: int):
    rng = np.random.default_rng(dim)
    references = rng.normal(size=(300, FULL_DIM)).astype(np.float32)
    references[:, 0] *= 20  # without normalisation after truncation the long first component would decide
    gallery = FlatGallery(FULL_DIM)
    gallery.put(list(range(300)), references)
    for probe in rng.normal(size=(20, FULL_DIM)).astype(np.float32):
        check(gallery.search(probe, dim, 10), brute_force(dict(enumerate(references)), probe, dim), 10)


def test_search_of_an_empty_gallery_finds_nobody():
    gallery = FlatGallery(4)
    assert gallery.search(np.ones(4, np.float32), 2, 5) == []
    gallery.put([1], np.ones((1, 4), np.float32))
    gallery.remove(1)
    assert gallery.search(np.ones(4, np.float32), 2, 5) == []
    assert len(gallery) == 0


def test_search_with_subjects_of_equal_references_lists_them_by_their_keys():
    gallery = FlatGallery(4)
    gallery.put([7, 3, 5], np.array([[1, 2, 3, 4]] * 3, np.float32))
    assert [c.subject_key for c in gallery.search(np.array([1, 2, 3, 4], np.float32), 4, 3)] == [3, 5, 7]


def test_search_of_a_subjects_own_reference_is_at_most_one():
    rng = np.random.default_rng(9)
    references = rng.normal(size=(100, 64)).astype(np.float32)
    gallery = FlatGallery(64)
    gallery.put(list(range(100)), references)
    best = [gallery.search(reference, 64, 1)[0] for reference in references]
    assert [c.subject_key for c in best] == list(range(100))
    assert all(1 - 1e-6 < c.similarity <= 1.0 for c in best)


def test_search_at_a_dim_it_does_not_have_is_refused():
    gallery = FlatGallery(4)
    with pytest.raises(DimensionError):
        gallery.search(np.ones(4, np.float32), 5, 1)


@pytest.mark.parametrize("searched_before", [True, False])
def test_put_of_a_reference_that_is_zero_at_one_dim_is_similar_to_nothing_there(searched_before: bool):
    gallery = FlatGallery(3)
    gallery.put([1], np.array([[1, 0, 0]], np.float32))
    if searched_before:
        gallery.search(np.ones(3, np.float32), 1, 1)
    gallery.put([2], np.array([[0, 0, 1]], np.float32))
    assert gallery.search(np.array([1, 0, 0], np.float32), 1, 5) == [Candidate(1, 1.0), Candidate(2, 0.0)]
    assert gallery.search(np.array([0, 0, 1], np.float32), 3, 5) == [Candidate(2, 1.0), Candidate(1, 0.0)]


def test_gallery_used_from_threads_never_shows_a_removed_subject_or_loses_one():
    rng = np.random.default_rng(4)
    fixed = rng.normal(size=(50, FULL_DIM)).astype(np.float32)
    gallery = FlatGallery(FULL_DIM)
    gallery.put(list(range(50)), fixed)
    problems: list[object] = []

    def write(first: int) -> None:
        own = np.random.default_rng(first)
        for key in range(first, first + 60):
            vector = own.normal(size=FULL_DIM).astype(np.float32)
            gallery.put([key], vector[None])
            if gallery.search(vector, 8, 1)[0].subject_key != key:
                problems.append(("not found", key))
            gallery.remove(key)
            if key in {c.subject_key for c in gallery.search(vector, 3, 200)}:
                problems.append(("still there", key))

    def read() -> None:
        for i in range(100):
            best = gallery.search(fixed[i % 50], 12, 1)[0]
            if best.subject_key != i % 50 or abs(best.similarity - 1) > 1e-5:
                problems.append(("wrong", best))

    threads = [threading.Thread(target=write, args=(1000 * n,)) for n in (1, 2, 3)]
    threads += [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(gallery) == 50
