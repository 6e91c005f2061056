"""What is searched on a GPU is what was drawn, whichever engine searches; here on the CPU."""

import numpy as np
import pytest

from loadtests.gpu import searchers
from loadtests.gpu.searchers import Drawn, FaissSearcher, OnnxSearcher, RepeatedRowsError, Searcher


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searchers, "BASE_ROWS", 700)


def rows_of(drawn: Drawn) -> np.ndarray:
    return np.concatenate([drawn.block(number) for number in range(drawn.blocks)])


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dim", [8, 32])
def test_drawn_rows_are_of_unit_length_and_no_two_alike(dim: int):
    rows = rows_of(Drawn(3000, dim, 32))
    assert rows.shape == (3000, dim)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    similarities = rows @ rows.T
    np.fill_diagonal(similarities, 0)
    assert similarities.max() < 0.9999


@pytest.mark.usefixtures("small_blocks")
def test_drawn_rows_that_would_repeat_are_refused():
    with pytest.raises(RepeatedRowsError, match="22,401 rows of 32 components would repeat; 22,400 do not"):
        Drawn(700 * 32 + 1, 8, 32)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("is_half", [False, True])
@pytest.mark.parametrize("engine", ["faiss", "faiss in shards", "onnx"])
def test_searcher_of_several_shards_finds_the_best_of_all_rows(engine: str, is_half: bool):
    drawn = Drawn(2500, 16, 32)
    searcher: Searcher = FaissSearcher(False, is_half, 16, 1100 if engine == "faiss in shards" else None)
    if engine == "onnx":
        searcher = OnnxSearcher(False, is_half, 16, shard_rows=1100)
    for number in range(drawn.blocks):
        searcher.add(drawn.block(number))
    rows = rows_of(drawn).astype(np.float64)
    probes, expected = drawn.probes(9, seed=3)
    found = searcher.search(probes, 6)
    np.testing.assert_array_equal(found[:, 0], expected)
    similarities = probes.astype(np.float64) @ rows.T
    best = -np.sort(-similarities, axis=1)[:, :6]
    np.testing.assert_allclose(np.take_along_axis(similarities, found, axis=1), best, atol=3e-3 if is_half else 1e-6)
    assert all(len(set(row)) == 6 for row in found.tolist())
