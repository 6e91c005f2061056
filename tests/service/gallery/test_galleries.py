"""Whatever is put, replaced, removed and searched, every gallery answers as brute force does."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime import get_available_providers

from matchka.errors import DimensionError
from matchka.gallery.faiss_cpu.gallery import CpuGallery
from matchka.gallery.faiss_gpu import GpuDevice, GpuGallery, open_gpu
from matchka.gallery.gallery import Gallery, SearchHit
from matchka.gallery.milvus.gallery import MilvusGallery
from matchka.gallery.onnx.index import OnnxIndex, open_onnx
from matchka.runtime.cuda import driver_problem
from tests.factories.milvus import LiteGalleries

FULL_DIM, DIMS = 12, (1, 3, 8, 12)
LITE = LiteGalleries()
CUDA = "CUDAExecutionProvider"


def real_gpu(full_dim: int) -> Gallery:
    device = open_gpu()
    if device is None:
        pytest.skip("FAISS finds no NVIDIA GPU here")
    return GpuGallery(full_dim, GpuDevice(device.make_index, shard_rows=4))


def on_onnx(full_dim: int, use_gpu: bool = False, shard_rows: int = 4) -> Gallery:
    if use_gpu and (CUDA not in get_available_providers() or driver_problem(13) is not None):
        pytest.skip("ONNX Runtime has no CUDA here, or CUDA no driver")
    device = open_onnx(use_gpu, shard_rows=shard_rows)
    index = device.make_index(full_dim)
    assert isinstance(index, OnnxIndex)
    assert index.device == ("cuda" if use_gpu else "cpu")  # never the CPU in a GPU's place
    return GpuGallery(full_dim, device)


# blocks of four rows make every sequence of changes cross their borders
MAKERS: dict[str, Callable[[int], Gallery]] = {
    "policy": CpuGallery,
    "flat": lambda full_dim: CpuGallery(full_dim, choose=lambda *_: "flat", block_rows=4),
    "two_stage": lambda full_dim: CpuGallery(full_dim, choose=lambda *_: "two_stage", prefix_dim=3, block_rows=4),
    "gpu code on CPU indexes": lambda full_dim: GpuGallery(full_dim, GpuDevice(faiss.IndexFlatIP, shard_rows=4)),
    "gpu": real_gpu,
    "onnx": on_onnx,
    "onnx on a gpu": lambda full_dim: on_onnx(full_dim, use_gpu=True),
}
PARAMETERS = [
    pytest.param(make, id=name, marks=[pytest.mark.gpu] if name.endswith("gpu") else [])
    for name, make in MAKERS.items()
]
every_gallery_in_memory = pytest.mark.parametrize("make", PARAMETERS)
every_gallery = pytest.mark.parametrize("make", [*PARAMETERS, pytest.param(LITE.open, id="milvus")])


def repeats(gallery: Gallery, count: int) -> int:
    """How often to do what many threads do: where each time is a call of a server, less often."""
    return count // 10 if isinstance(gallery, MilvusGallery) else count


@pytest.fixture(autouse=True, scope="module")
def lite() -> Iterator[None]:
    """Close the file of Milvus Lite, if a test has opened it."""
    yield
    LITE.close()


def brute_force(held: dict[int, np.ndarray], probe: np.ndarray, dim: int) -> dict[int, float]:
    """Cosines in float64, one subject at a time."""
    query = probe[:dim].astype(np.float64)
    cosines = {}
    for key, reference in held.items():
        own = reference[:dim].astype(np.float64)
        cosines[key] = float(query @ own / np.sqrt((query @ query) * (own @ own)))
    return cosines


def check(found: list[SearchHit], expected: dict[int, float], top_k: int) -> None:
    """The best top_k, most similar first; candidates that tie within rounding may change places."""
    assert len(found) == min(top_k, len(expected))
    assert len({c.subject_key for c in found}) == len(found)
    best = sorted(expected.values(), reverse=True)[: len(found)]
    np.testing.assert_allclose([c.similarity for c in found], best, atol=2e-6)
    np.testing.assert_allclose([c.similarity for c in found], [expected[c.subject_key] for c in found], atol=2e-6)
    order = [(-c.similarity, c.subject_key) for c in found]
    assert order == sorted(order)


@every_gallery
def test_memory_of_a_gallery_is_that_of_what_it_keeps_of_each_subject(make: Callable[[int], Gallery]):
    gallery, rng = make(FULL_DIM), np.random.default_rng(3)
    assert gallery.memory_bytes == 0
    gallery.put(range(9), rng.normal(size=(9, FULL_DIM)).astype(np.float32))
    # a number of eight bytes for the subject, one of four for each component and for the length at full dim, and what
    # a shortlist compares
    codes = gallery._prefix_dim if isinstance(gallery, CpuGallery) else 0
    # of Milvus' server nothing is this process' memory
    each = 0 if isinstance(gallery, MilvusGallery) else 8 + 4 * FULL_DIM + 4 + codes
    assert gallery.memory_bytes == 9 * each
    gallery.remove(4)
    assert gallery.memory_bytes == 8 * each


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sets(st.integers(0, 9), min_size=1, max_size=4)),
        st.tuples(st.just("remove"), st.integers(0, 10)),
        st.tuples(st.just("search"), st.tuples(st.sampled_from(DIMS), st.integers(1, 12))),
    ),
    max_size=25,
)


@every_gallery_in_memory
@settings(max_examples=60, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 2**32 - 1))
def test_gallery_after_any_sequence_of_changes_answers_as_brute_force(
    make: Callable[[int], Gallery], steps: list, seed: int
):
    check_changes(make, steps, seed)


@settings(max_examples=8, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 2**32 - 1))
def test_gallery_in_milvus_after_any_sequence_of_changes_answers_as_brute_force(steps: list, seed: int):
    check_changes(LITE.open, steps, seed)


def check_changes(make: Callable[[int], Gallery], steps: list, seed: int) -> None:
    rng = np.random.default_rng(seed)
    gallery, held = make(FULL_DIM), {}
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


@every_gallery
@pytest.mark.parametrize("dim", DIMS)
def test_search_at_a_smaller_dim_ranks_by_the_cosine_of_prefixes_and_not_of_the_whole(
    make: Callable[[int], Gallery], dim: int
):
    rng = np.random.default_rng(dim)
    references = rng.normal(size=(300, FULL_DIM)).astype(np.float32)
    references[:, 0] *= 20  # without normalisation after truncation the long first component would decide
    gallery = make(FULL_DIM)
    gallery.put(list(range(300)), references)
    for probe in rng.normal(size=(20, FULL_DIM)).astype(np.float32):
        check(gallery.search(probe, dim, 10), brute_force(dict(enumerate(references)), probe, dim), 10)


@every_gallery
def test_search_of_an_empty_gallery_finds_nobody(make: Callable[[int], Gallery]):
    gallery = make(4)
    assert gallery.search(np.ones(4, np.float32), 2, 5) == []
    gallery.put([1], np.ones((1, 4), np.float32))
    gallery.remove(1)
    assert gallery.search(np.ones(4, np.float32), 2, 5) == []
    assert len(gallery) == 0


@every_gallery
def test_search_with_subjects_of_equal_references_lists_them_by_their_keys(make: Callable[[int], Gallery]):
    gallery = make(4)
    gallery.put([7, 3, 5], np.array([[1, 2, 3, 4]] * 3, np.float32))
    assert [c.subject_key for c in gallery.search(np.array([1, 2, 3, 4], np.float32), 4, 3)] == [3, 5, 7]


@every_gallery
def test_search_of_a_subjects_own_reference_is_at_most_one(make: Callable[[int], Gallery]):
    rng = np.random.default_rng(9)
    references = rng.normal(size=(100, 64)).astype(np.float32)
    gallery = make(64)
    gallery.put(list(range(100)), references)
    best = [gallery.search(reference, 64, 1)[0] for reference in references]
    assert [c.subject_key for c in best] == list(range(100))
    assert all(1 - 1e-6 < c.similarity <= 1.0 for c in best)


@every_gallery
def test_search_at_a_dim_it_does_not_have_is_refused(make: Callable[[int], Gallery]):
    gallery = make(4)
    with pytest.raises(DimensionError):
        gallery.search(np.ones(4, np.float32), 5, 1)


@every_gallery
@pytest.mark.parametrize("searched_before", [True, False])
def test_put_of_a_reference_that_is_zero_at_one_dim_is_similar_to_nothing_there(
    make: Callable[[int], Gallery], searched_before: bool
):
    gallery = make(3)
    gallery.put([1], np.array([[1, 0, 0]], np.float32))
    if searched_before:
        gallery.search(np.ones(3, np.float32), 1, 1)
    gallery.put([2], np.array([[0, 0, 1]], np.float32))
    assert gallery.search(np.array([1, 0, 0], np.float32), 1, 5) == [SearchHit(1, 1.0), SearchHit(2, 0.0)]
    assert gallery.search(np.array([0, 0, 1], np.float32), 3, 5) == [SearchHit(2, 1.0), SearchHit(1, 0.0)]


@every_gallery
def test_gallery_used_from_threads_never_shows_a_removed_subject_or_loses_one(make: Callable[[int], Gallery]):
    rng = np.random.default_rng(4)
    fixed = rng.normal(size=(50, FULL_DIM)).astype(np.float32)
    gallery = make(FULL_DIM)
    gallery.put(list(range(50)), fixed)
    problems: list[object] = []

    def write(first: int) -> None:
        own = np.random.default_rng(first)
        for key in range(first, first + repeats(gallery, 60)):
            vector = own.normal(size=FULL_DIM).astype(np.float32)
            gallery.put([key], vector[None])
            if gallery.search(vector, 8, 1)[0].subject_key != key:
                problems.append(("not found", key))
            gallery.remove(key)
            if key in {c.subject_key for c in gallery.search(vector, 3, 200)}:
                problems.append(("still there", key))

    def read() -> None:
        for i in range(repeats(gallery, 100)):
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


def varied(rng: np.random.Generator, count: int, full_dim: int = 96) -> np.ndarray:
    """Rows whose components shrink along the row, as a projection's do."""
    return (rng.normal(size=(count, full_dim)) / np.sqrt(1 + np.arange(full_dim))).astype(np.float32)


def test_two_stage_search_after_replacing_and_removing_most_finds_every_subject_that_is_left():
    rng = np.random.default_rng(6)
    gallery = CpuGallery(96, choose=lambda *_: "two_stage", prefix_dim=32)
    held = dict(enumerate(varied(rng, 6000)))
    gallery.put(list(held), np.stack(list(held.values())))
    for key in rng.permutation(6000)[:2500].tolist():
        gallery.remove(key)
        del held[key]
    for key in rng.choice(list(held), 1500, replace=False).tolist():
        held[key] = varied(rng, 1)[0]
        gallery.put([key], held[key][None])
    for dim in (32, 64, 96):  # 512 of 3,500 rows are compared: a code that was not moved with its row would be missed
        for key in rng.choice(list(held), 25, replace=False).tolist():
            noisy = held[key] + 0.3 * varied(rng, 1)[0]
            found = gallery.search(noisy, dim, 3)
            expected = brute_force(held, noisy, dim)
            assert found[0].subject_key == max(expected, key=expected.__getitem__)
            np.testing.assert_allclose(
                [c.similarity for c in found], [expected[c.subject_key] for c in found], atol=2e-6
            )
    assert gallery.searches() == {"flat": 0, "two_stage": 75}


def test_policy_of_a_large_gallery_counts_two_stage_searches_at_large_dims_and_flat_searches_at_small_ones():
    rng = np.random.default_rng(2)
    gallery = CpuGallery(256)
    gallery.put(list(range(20_000)), varied(rng, 20_000, 256))
    for dim in (16, 32, 64, 128, 256, 256):
        gallery.search(np.ones(256, np.float32), dim, 5)
    assert gallery.searches() == {"flat": 4, "two_stage": 2}  # 20,000 subjects at 128 are little work


def test_search_shared_by_threads_equals_that_of_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("matchka.gallery.faiss_cpu.policy.PARALLEL_FROM_BYTES", 1)  # as if 5,000 subjects were many
    rng = np.random.default_rng(3)
    references = varied(rng, 5000)
    one, shared = CpuGallery(96, block_rows=500), CpuGallery(96, ThreadPoolExecutor(2), 3, block_rows=500)
    for gallery in (one, shared):
        gallery.put(list(range(5000)), references)
    for probe in varied(rng, 20):
        assert shared.search(probe, 96, 7) == one.search(probe, 96, 7)


@every_gallery
def test_search_begun_after_a_removal_has_returned_never_shows_the_subject(make: Callable[[int], Gallery]):
    rng = np.random.default_rng(5)
    fixed = rng.normal(size=(20, FULL_DIM)).astype(np.float32)
    gallery = make(FULL_DIM)
    gallery.put(list(range(20)), fixed)
    removed_at: dict[int, float] = {}
    problems: list[object] = []
    done = threading.Event()

    def read(seed: int) -> None:
        own = np.random.default_rng(seed)
        while not done.is_set():
            began = time.perf_counter()
            wanted = int(own.integers(20))
            found = gallery.search(fixed[wanted], DIMS[own.integers(1, 4)], 100)
            keys = [candidate.subject_key for candidate in found]
            if len(set(keys)) != len(keys) or not set(range(20)) <= set(keys):
                problems.append(("twice, or one that never left is missing", keys))
            problems.extend(("removed", key) for key in keys if removed_at.get(key, np.inf) < began)

    def write(first: int) -> None:
        own = np.random.default_rng(first)
        for start in range(first, first + 3 * repeats(gallery, 100), 3):
            keys = [start, start + 1, start + 2]
            gallery.put(keys, own.normal(size=(3, FULL_DIM)).astype(np.float32))
            gallery.put(keys[:1], own.normal(size=(1, FULL_DIM)).astype(np.float32))
            for key in own.permutation(keys).tolist():
                gallery.remove(key)
                removed_at[key] = time.perf_counter()

    readers = [threading.Thread(target=read, args=(n,)) for n in range(3)]
    writers = [threading.Thread(target=write, args=(1000 * n,)) for n in (1, 2)]
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert problems == []
    assert len(gallery) == 20
