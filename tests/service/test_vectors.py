"""Arithmetic on embeddings against float64 loops."""

import math
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from matchka import vectors
from matchka.errors import DimensionError, ZeroVectorError
from matchka.vectors import cosine_similarity, cosines_with, mean_by_group, mean_reference, truncate_and_normalise

# far from the denormal range, where even a float64 norm of float32 numbers loses digits
COMPONENTS = st.floats(-1e3, 1e3, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)
ROWS = arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=COMPONENTS)


def unit(row: np.ndarray) -> list[float]:
    norm = math.sqrt(math.fsum(float(x) ** 2 for x in row))
    return [float(x) / norm for x in row]


@given(ROWS, st.data())
def test_truncate_and_normalise_of_any_rows_equals_slow_prefix_over_its_norm(rows: np.ndarray, data: st.DataObject):
    dim = data.draw(st.integers(1, rows.shape[1]))
    before = rows.copy()
    if any(not np.any(row[:dim]) for row in rows):
        with pytest.raises(ZeroVectorError):
            truncate_and_normalise(rows, dim)
        return
    found = truncate_and_normalise(rows, dim)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [unit(row[:dim]) for row in rows], atol=1e-7)
    np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e18, 1e38])
def test_truncate_and_normalise_at_extreme_lengths_neither_overflows_nor_vanishes(scale: float):
    rows = np.array([[3.0, 4.0, 12.0]], np.float32) * np.float32(scale / 10)
    np.testing.assert_allclose(truncate_and_normalise(rows, 2), [[0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize("dim", [-1, 0, 4, 10**9])
def test_truncate_and_normalise_at_a_dim_out_of_range_is_refused(dim: int):
    with pytest.raises(DimensionError) as refused:
        truncate_and_normalise(np.ones((2, 3), np.float32), dim)
    assert refused.value.value == str(dim)
    assert "between 1 and 3" in refused.value.detail


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 12), st.integers(0, 2**32 - 1), st.data())
def test_cosine_similarity_of_any_rows_equals_slow_pairs(n: int, m: int, full_dim: int, seed: int, data: st.DataObject):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, full_dim)).astype(np.float32), rng.normal(size=(m, full_dim)).astype(np.float32)
    dim = data.draw(st.integers(1, full_dim))
    found = cosine_similarity(a, b, dim)
    slow = [[math.fsum(x * y for x, y in zip(unit(p[:dim]), unit(q[:dim]), strict=True)) for q in b] for p in a]
    np.testing.assert_allclose(found, slow, atol=5e-7)


def test_cosine_similarity_of_equal_and_opposite_vectors_stays_within_one():
    rows = np.random.default_rng(3).normal(size=(200, 256)).astype(np.float32)
    own = np.diag(cosine_similarity(rows, rows, 256))
    opposite = np.diag(cosine_similarity(rows, -rows, 256))
    assert own.max() <= 1.0
    assert own.min() > 1 - 1e-6
    assert opposite.min() >= -1.0


def test_cosine_similarity_of_two_models_embeddings_is_refused():
    with pytest.raises(DimensionError, match="4 and 5"):
        cosine_similarity(np.ones((1, 4), np.float32), np.ones((1, 5), np.float32), 4)


@given(n=st.integers(1, 40), seed=st.integers(0, 2**32 - 1), dim=st.sampled_from([1, 3, 8, 32]))
def test_cosines_with_of_any_references_equal_slow_sums_and_stay_the_same_in_any_company(n: int, seed: int, dim: int):
    generator = np.random.default_rng(seed)
    references = generator.normal(size=(n, 32)).astype(np.float32)
    references[generator.random(n) < 0.2, :dim] = 0  # no direction at this dim
    probe = generator.normal(size=32).astype(np.float32)

    found = cosines_with(references, probe, dim)

    for one, reference in zip(found.tolist(), references.tolist(), strict=True):
        product = math.fsum(a * b for a, b in zip(reference[:dim], probe[:dim].tolist(), strict=True))
        lengths = math.hypot(*reference[:dim]) * math.hypot(*probe[:dim].tolist())
        assert one == pytest.approx(product / lengths if product else 0.0, abs=1e-6)
    alone = [cosines_with(reference[None, :], probe, dim)[0] for reference in references]
    assert found.tolist() == alone


def test_cosines_with_a_probe_that_has_no_direction_is_refused():
    with pytest.raises(ZeroVectorError):
        cosines_with(np.ones((2, 3), np.float32), np.array([0, 0, 1], np.float32), 2)


def test_mean_reference_of_unequal_lengths_weighs_every_template_alike():
    rows = np.array([[10, 0, 0], [0, 0.01, 0], [3, 4, 0]], np.float32)
    expected = [(1 + 0 + 0.6) / 3, (0 + 1 + 0.8) / 3, 0]
    np.testing.assert_allclose(mean_reference(rows), expected, atol=1e-7)


def test_mean_reference_of_opposite_templates_is_refused():
    with pytest.raises(ZeroVectorError, match="cancel"):
        mean_reference(np.array([[2, 1], [-2, -1]], np.float32))


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=6),
    st.integers(1, 5),
    st.integers(0, 2**32 - 1),
    st.integers(1, 7),
)
def test_mean_by_group_of_any_groups_equals_slow_means(sizes: list[int], dim: int, seed: int, at_once: int):
    rows = np.random.default_rng(seed).normal(size=(sum(sizes), dim)).astype(np.float32)
    expected, start = [], 0
    for size in sizes:
        expected.append([math.fsum(float(x) for x in rows[start : start + size, c]) / size for c in range(dim)])
        start += size
    with patch.object(vectors, "GROUPS_AT_ONCE", at_once):
        np.testing.assert_allclose(mean_by_group(rows, sizes), expected, atol=1e-6)
