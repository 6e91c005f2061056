"""The index in ONNX Runtime against brute force in float64, over several parts, and what lies in its memory."""

import logging

import faiss
import numpy as np
import pytest
from onnxruntime import get_available_providers

from matchka.gallery.faiss_gpu import GpuGallery
from matchka.gallery.galleries import GalleryOpener
from matchka.gallery.onnx.index import CUDA, PART_ROWS, OnnxIndex, open_onnx
from matchka.runtime.cuda import driver_problem

DIM = 16


def unit(rng: np.random.Generator, count: int) -> np.ndarray:
    rows = rng.normal(size=(count, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def index_of(rows: np.ndarray, half_precision: bool = False) -> OnnxIndex:
    index = open_onnx(False, half_precision).make_index(DIM)
    index.add(rows)
    assert isinstance(index, OnnxIndex)
    return index


@pytest.mark.parametrize("half_precision", [False, True])
@pytest.mark.parametrize("size", [1, PART_ROWS - 1, PART_ROWS, PART_ROWS + 1, 5 * PART_ROWS + 77])
@pytest.mark.parametrize("count", [1, 10, PART_ROWS + 5])
def test_search_of_several_queries_finds_the_best_of_all_parts(size: int, count: int, half_precision: bool):
    rng = np.random.default_rng(size)
    rows, queries = unit(rng, size), unit(rng, 3)
    # all similarities negative: what fills the last part would be preferred if it were compared
    rows -= 2 * queries.mean(axis=0)
    similarities, found = index_of(rows, half_precision).search(queries, count)
    expected = queries.astype(np.float64) @ rows.astype(np.float64).T
    held = min(size, count)
    bound = 5e-3 if half_precision else 1e-5
    np.testing.assert_allclose(similarities[:, :held], -np.sort(-expected, axis=1)[:, :held], atol=bound)
    for query in range(3):
        assert len(set(found[query, :held].tolist())) == held
        np.testing.assert_allclose(expected[query, found[query, :held]], similarities[query, :held], atol=bound)
    assert (found[:, held:] == -1).all()


def test_index_grown_by_small_additions_equals_one_that_was_filled_at_once():
    rng = np.random.default_rng(1)
    rows, queries = unit(rng, 2500), unit(rng, 5)
    index = index_of(rows[:3])
    for start in range(3, 2500, 100):
        index.add(rows[start : start + 100])
    flat = faiss.IndexFlatIP(DIM)
    flat.add(rows)
    expected, _ = flat.search(queries, 20)
    similarities, found = index.search(queries, 20)
    np.testing.assert_allclose(similarities, expected, atol=1e-6)
    np.testing.assert_allclose(np.einsum("qd,qkd->qk", queries, rows[found]), expected, atol=1e-6)


def test_rows_filled_again_after_a_reset_leave_nothing_of_the_former_ones():
    rng = np.random.default_rng(2)
    rows = unit(rng, 1500)
    index = index_of(rows)
    index.reset()
    index.add(rows[:-700])
    memory = index._rows.numpy()
    np.testing.assert_array_equal(memory[:800], rows[:800])
    assert not memory[800:].any()


def test_remove_and_replace_in_a_gallery_leave_no_copy_of_the_vector_on_the_device():
    rng = np.random.default_rng(3)
    device = open_onnx(False, shard_rows=16)
    made: list[OnnxIndex] = []
    make_index = device.make_index
    device.make_index = lambda dim: made.append(make_index(dim)) or made[-1]
    gallery = GpuGallery(DIM, device)
    references = unit(rng, 40)
    gallery.put(range(40), references)
    gallery.search(references[0], DIM, 1)

    def copies(row: int) -> int:
        memory = np.concatenate([index._rows.numpy() for index in made])
        return int(np.sum(np.all(np.abs(memory - references[row]) < 1e-6, axis=1)))

    assert [copies(row) for row in (3, 20, 39)] == [1, 1, 1]
    gallery.remove(3)
    gallery.put([20], unit(rng, 1))
    assert [copies(row) for row in (3, 20, 39)] == [0, 0, 1]


@pytest.mark.skipif(
    CUDA in get_available_providers() and driver_problem(13) is None, reason="ONNX Runtime has a GPU here"
)
def test_gallery_wanted_on_a_gpu_that_is_not_there_is_on_the_cpu_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
):
    with caplog.at_level(logging.WARNING, "matchka.gallery"):
        gallery = GalleryOpener(device=open_onnx(True)).open(DIM)
    gallery.put([7], np.ones((1, DIM), np.float32))
    assert gallery.search(np.ones(DIM, np.float32), 8, 1)[0].subject_key == 7
    assert gallery.searches() == {"onnx": 1}
    assert ("NVIDIA driver" if CUDA in get_available_providers() else "install onnxruntime-gpu") in caplog.text
    assert len(caplog.records) == 1
