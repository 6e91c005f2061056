"""The GPU's gallery: one thread, true deletion, and a clear line where there is no GPU."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import faiss
import numpy as np
import pytest
from onnxruntime import get_available_providers

from matchka.gallery.faiss_cpu.gallery import CpuGallery
from matchka.gallery.faiss_gpu import GpuDevice, GpuGallery, open_gpu
from matchka.gallery.galleries import GalleryOpener
from matchka.gallery.onnx.index import CUDA, OnnxIndex, open_onnx
from matchka.runtime.cuda import driver_problem

# the driver first: FAISS ends the process where it answers with an error
has_gpu = hasattr(faiss, "StandardGpuResources") and driver_problem(12) is None and faiss.get_num_gpus() > 0
without_gpu = pytest.mark.skipif(has_gpu, reason="there is a GPU here")


class WatchedIndexes:
    """Makes FAISS' own CPU indexes and notes the threads that use them."""

    def __init__(self) -> None:
        self.made: list[faiss.IndexFlatIP] = []
        self.threads: set[int] = set()

    def make(self, dim: int) -> "WatchedIndex":
        self.threads.add(threading.get_ident())
        index = faiss.IndexFlatIP(dim)
        self.made.append(index)
        return WatchedIndex(index, self.threads)

    def rows(self) -> np.ndarray:
        """All vectors of full dim that lie in any index."""
        return np.concatenate([index.reconstruct_n(0, index.ntotal) for index in self.made if index.d == 8])


class WatchedIndex:
    """What a GPU index has: no deletion and no selector."""

    def __init__(self, index: faiss.IndexFlatIP, threads: set[int]) -> None:
        self._index, self._threads = index, threads

    def add(self, rows: np.ndarray) -> None:
        self._threads.add(threading.get_ident())
        self._index.add(rows)

    def reset(self) -> None:
        self._threads.add(threading.get_ident())
        self._index.reset()

    def search(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        self._threads.add(threading.get_ident())
        return self._index.search(queries, count)


def test_gpu_gallery_used_from_threads_calls_the_device_from_one():
    watched, rng = WatchedIndexes(), np.random.default_rng(0)
    gallery = GpuGallery(8, GpuDevice(watched.make, shard_rows=16))

    def work(key: int) -> None:
        vector = rng.normal(size=8).astype(np.float32)
        gallery.put([key], vector[None])
        gallery.search(vector, 4 + key % 5, 3)
        if key % 2:
            gallery.remove(key)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(100)))
    assert len(watched.threads) == 1
    assert threading.get_ident() not in watched.threads
    assert len(gallery) == 50


def test_remove_and_replace_leave_no_copy_of_the_vector_on_the_device():
    watched, rng = WatchedIndexes(), np.random.default_rng(1)
    gallery = GpuGallery(8, GpuDevice(watched.make, shard_rows=16))
    references = rng.normal(size=(40, 8)).astype(np.float32)
    unit = references / np.linalg.norm(references, axis=1, keepdims=True)
    gallery.put(list(range(40)), references)
    gallery.search(references[0], 8, 1)

    def copies(row: int) -> int:
        return int(np.sum(np.all(np.abs(watched.rows() - unit[row]) < 1e-6, axis=1)))

    assert [copies(row) for row in (3, 20, 39)] == [1, 1, 1]
    gallery.remove(3)
    gallery.put([20], rng.normal(size=(1, 8)).astype(np.float32))
    assert [copies(row) for row in (3, 20, 39)] == [0, 0, 1]
    assert len(watched.rows()) == 39


class FullDevice(WatchedIndexes):
    """FAISS' own CPU indexes on a device whose memory ends at the next rows, once it is told, as FAISS says so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_full = False

    def make(self, dim: int) -> WatchedIndex:
        full, index = self, super().make(dim)

        class Index(WatchedIndex):
            def add(self, rows: np.ndarray) -> None:
                if full.is_full:
                    full.is_full = False
                    raise RuntimeError("StandardGpuResources: alloc fail (cudaMalloc error out of memory [2])")
                super().add(rows)

        return Index(index._index, self.threads)


@pytest.mark.parametrize(
    "change",
    [
        lambda gallery, _: gallery.remove(0),
        lambda gallery, rows: gallery.put([2], rows[5:6]),
        lambda gallery, rows: gallery.put([9], rows[5:6]),
    ],
    ids=["removal", "replacement", "addition"],
)
def test_change_that_the_device_has_no_memory_for_leaves_no_row_under_another_s_key(
    change: Callable[[GpuGallery, np.ndarray], None],
):
    device, rng = FullDevice(), np.random.default_rng(3)
    gallery = GpuGallery(8, GpuDevice(device.make, shard_rows=16))
    references = rng.normal(size=(8, 8)).astype(np.float32)
    gallery.put([0, 1, 2, 3, 4], references[:5])
    for dim in (8, 4):
        gallery.search(references[0], dim, 1)
    device.is_full = True
    with pytest.raises(MemoryError):
        change(gallery, references)
    gallery.put([6], references[6:7])
    for dim in (8, 4):
        for key in (1, 3, 4, 6):
            found = gallery.search(references[key], dim, 1)[0]
            assert (found.subject_key, found.similarity) == (key, pytest.approx(1))


def test_last_subject_of_a_shard_is_gone_where_the_device_has_no_memory():
    device = FullDevice()
    gallery = GpuGallery(8, GpuDevice(device.make, shard_rows=1))
    rows = np.eye(8, dtype=np.float32)[:2]
    gallery.put([1, 2], rows)
    gallery.search(rows[0], 8, 1)
    device.is_full = True
    with pytest.raises(MemoryError):
        gallery.remove(1)
    assert [hit.subject_key for hit in gallery.search(rows[0], 8, 2)] == [2]


class Held:
    """The owner thread of a device, kept busy while searches gather."""

    def __init__(self, device: GpuDevice) -> None:
        self._end = threading.Event()
        device.owner.submit(self._end.wait)

    def release_after(self, gallery: GpuGallery, dim: int, searches: int) -> None:
        while len(gallery._waiting.get(dim, ())) < searches:
            time.sleep(0.001)
        self._end.set()


class CountedIndex(WatchedIndex):
    """Notes how many queries come together; more than `most` need memory that there is not."""

    together: ClassVar[list[int]] = []
    most = 1000

    def search(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        self.together.append(len(queries))
        if len(queries) > self.most:
            raise RuntimeError("CUDA failure 2: out of memory")
        return super().search(queries, count)


def searched_together(most: int, searches: int) -> tuple[list[int], list[BaseException | None]]:
    """How many queries came together at each search of an index, and what the callers got for an error."""
    rng = np.random.default_rng(4)

    class Index(CountedIndex):
        together: ClassVar[list[int]] = []

    Index.most = most
    device = GpuDevice(lambda dim: Index(faiss.IndexFlatIP(dim), set()))
    gallery, references = GpuGallery(8, device), rng.normal(size=(50, 8)).astype(np.float32)
    gallery.put(range(50), references)
    held = Held(device)

    def ask(key: int) -> None:
        hits = gallery.search(references[key], 8, 1 + key % 3)
        lengths = np.linalg.norm(references, axis=1) * np.linalg.norm(references[key])
        cosines = references @ references[key] / lengths
        assert [hit.subject_key for hit in hits] == np.argsort(-cosines)[: 1 + key % 3].tolist()
        np.testing.assert_allclose([hit.similarity for hit in hits], cosines[[h.subject_key for h in hits]], atol=1e-6)

    with ThreadPoolExecutor(searches) as pool:
        asked = [pool.submit(ask, key) for key in range(searches)]
        held.release_after(gallery, 8, searches)
        errors = [one.exception() for one in asked]
    failed = sum(error is not None for error in errors)
    assert gallery.searches() == {"gpu": searches - failed}
    return Index.together, errors


def test_searches_that_wait_for_a_busy_device_are_made_together_and_each_gets_its_own_answer():
    together, errors = searched_together(most=1000, searches=20)
    assert together == [20]
    assert errors == [None] * 20


def test_searches_that_there_is_no_memory_for_together_are_made_in_halves():
    together, errors = searched_together(most=6, searches=20)
    assert together == [20, 10, 5, 5, 10, 5, 5]
    assert errors == [None] * 20


def test_searches_that_there_is_no_memory_for_one_by_one_are_told_so():
    _, errors = searched_together(most=0, searches=3)
    assert [type(error) for error in errors] == [MemoryError] * 3
    assert "MATCHKA_GPU_HALF_PRECISION" in str(errors[0])


def test_search_for_more_than_the_device_finds_equals_brute_force():
    rng = np.random.default_rng(5)
    device = GpuDevice(WatchedIndexes().make, shard_rows=40, most_found=16)
    gallery, references = GpuGallery(8, device), rng.normal(size=(100, 8)).astype(np.float32)
    gallery.put(range(100), references)
    for dim, count in ((8, 16), (8, 17), (4, 60), (8, 100)):
        probe = references[7, :dim]
        cosines = references[:, :dim] @ probe / np.linalg.norm(references[:, :dim], axis=1) / np.linalg.norm(probe)
        hits = gallery.search(references[7], dim, count)
        assert [hit.subject_key for hit in hits] == np.argsort(-cosines)[:count].tolist()


@without_gpu
def test_gallery_on_a_gpu_that_is_not_there_is_on_the_cpu_and_the_log_says_why(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, "matchka.gallery"):
        gallery = GalleryOpener(device=open_gpu()).open(8)
    assert isinstance(gallery, CpuGallery)
    assert "on the CPU" in caplog.text


def open_onnx_gpu(half_precision: bool) -> GpuDevice | None:
    if CUDA not in get_available_providers() or driver_problem(13) is not None:
        return None
    device = open_onnx(True, half_precision)
    index = device.make_index(8)
    assert isinstance(index, OnnxIndex)
    assert index.device == "cuda"  # never the CPU in a GPU's place
    return device


@pytest.mark.gpu
@pytest.mark.parametrize("half_precision", [False, True])
@pytest.mark.parametrize("open_device", [open_gpu, open_onnx_gpu])
def test_search_on_a_gpu_at_scale_equals_brute_force_and_never_shows_what_was_removed(
    open_device: Callable[[bool], GpuDevice | None], half_precision: bool
):
    device = open_device(half_precision)
    if device is None:
        pytest.skip("FAISS finds no NVIDIA GPU here, or ONNX Runtime no CUDA")
    rng = np.random.default_rng(2)
    references = rng.normal(size=(200_000, 128)).astype(np.float32)
    references /= np.linalg.norm(references, axis=1, keepdims=True)
    gallery = GpuGallery(128, device)
    gallery.put(list(range(200_000)), references)
    for key in range(0, 200_000, 20_011):
        assert gallery.search(references[key], 128, 1)[0].subject_key == key
        gallery.remove(key)
        expected = references @ references[key]
        expected[: key + 1 : 20_011] = -1
        (best,) = gallery.search(references[key], 128, 1)
        assert abs(best.similarity - expected.max()) < (2e-3 if half_precision else 1e-5)
        assert best.subject_key != key
    several = gallery.search(references[1], 128, 3000)  # FAISS finds 2048 on a GPU
    order = np.argsort(-(references @ references[1]))
    kept = [key for key in order.tolist() if key % 20_011]
    assert len({hit.subject_key for hit in several} & set(kept[:3000])) >= 2990
