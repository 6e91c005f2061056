"""The measurements' own scorers, against dense normal densities and loops."""

from pathlib import Path

import numpy as np
import pytest

from loadtests.scoring import Cosine, Counted, read_comparison
from tests.factories.bundles import DIMS, VERSION, write_bundle
from tests.factories.scorers import slow_similarity, write_scored_bundle
from tests.factories.slow_embedding import cosine
from tests.factories.unit_vectors import unit_vectors

A = Counted(unit_vectors(5, 1, dim=8), np.array([1.0, 3, 3, 12, 7]))
B = Counted(unit_vectors(4, 2, dim=8), np.array([2.0, 9, 2, 40]))


@pytest.mark.parametrize("dim", DIMS)
def test_two_covariances_are_those_of_dense_normal_densities(tmp_path: Path, dim: int):
    write_scored_bundle(tmp_path / "voice")
    found = read_comparison(tmp_path, "voice", VERSION).table(A, B, dim)
    for row, (x, rows_x) in enumerate(zip(A.vectors, A.rows, strict=True)):
        for column, (y, rows_y) in enumerate(zip(B.vectors, B.rows, strict=True)):
            assert found[row, column] == pytest.approx(slow_similarity(x, y, rows_x, rows_y, dim), abs=1e-6)


def test_bundle_without_a_scorer_is_compared_by_cosine(tmp_path: Path):
    write_bundle(tmp_path / "voice")
    comparison = read_comparison(tmp_path, "voice", VERSION)
    assert isinstance(comparison, Cosine)
    expected = [[cosine(x, y, 4) for y in B.vectors] for x in A.vectors]
    np.testing.assert_allclose(comparison.table(A, B, 4), expected, atol=1e-6)


def test_bundle_that_is_not_there_ends_the_measurement(tmp_path: Path):
    write_bundle(tmp_path / "voice")
    with pytest.raises(SystemExit, match=r"no bundle voice 9\.9"):
        read_comparison(tmp_path, "voice", "9.9")
