"""Error rates against brute force over every threshold, and against distributions whose rates are known."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from matchka_train.errors import NoTrialsError
from matchka_train.metrics.error_rates import det_curve, equal_error_rate, min_dcf, tar_at_fmr

# few distinct values, so that ties between mated and non-mated pairs happen often
similarities = st.lists(st.integers(-5, 5).map(lambda step: step / 5), min_size=1, max_size=12)


def rates_by_counting(mated, non_mated):
    """(fmr, fnmr) at every threshold, counted pair by pair, from the strictest to the laxest."""
    thresholds = [float("inf"), *sorted({*mated, *non_mated}, reverse=True)]
    return [
        (
            sum(1 for value in non_mated if value >= threshold) / len(non_mated),
            sum(1 for value in mated if value < threshold) / len(mated),
        )
        for threshold in thresholds
    ]


def eer_by_search(mated, non_mated):
    """Walk the DET polyline and bisect the segment where FNMR - FMR changes sign."""
    points = rates_by_counting(mated, non_mated)
    for (fmr_a, fnmr_a), (fmr_b, fnmr_b) in pairwise(points):
        if fnmr_b - fmr_b <= 0:
            low, high = 0.0, 1.0
            for _ in range(60):
                middle = (low + high) / 2
                gap = (fnmr_a - fmr_a) + middle * ((fnmr_b - fmr_b) - (fnmr_a - fmr_a))
                low, high = (middle, high) if gap > 0 else (low, middle)
            return fmr_a + high * (fmr_b - fmr_a)
    raise AssertionError("the curve never crosses")


@given(similarities, similarities)
def test_det_curve_when_pairs_tie_equals_counting_at_every_threshold(mated, non_mated):
    curve = det_curve(np.array(mated, np.float32), np.array(non_mated, np.float32))
    expected = rates_by_counting(mated, non_mated)
    assert np.allclose(curve.fmr, [fmr for fmr, _ in expected])
    assert np.allclose(curve.fnmr, [fnmr for _, fnmr in expected])


@given(similarities, similarities)
def test_equal_error_rate_on_any_pairs_equals_bisection(mated, non_mated):
    found = equal_error_rate(np.array(mated, np.float32), np.array(non_mated, np.float32))
    assert found == pytest.approx(eer_by_search(mated, non_mated), abs=1e-9)


@given(similarities, similarities, st.sampled_from([0.01, 0.5, 0.9]))
def test_min_dcf_on_any_pairs_equals_the_cheapest_threshold(mated, non_mated, p_target):
    found = min_dcf(np.array(mated, np.float32), np.array(non_mated, np.float32), p_target)
    costs = [p_target * fnmr + (1 - p_target) * fmr for fmr, fnmr in rates_by_counting(mated, non_mated)]
    assert found == pytest.approx(min(costs) / min(p_target, 1 - p_target), abs=1e-9)


@given(similarities, similarities, st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_tar_at_fmr_on_any_pairs_equals_the_laxest_allowed_threshold(mated, non_mated, fmr):
    found = tar_at_fmr(np.array(mated, np.float32), np.array(non_mated, np.float32), fmr)
    expected = max(1 - fnmr for measured, fnmr in rates_by_counting(mated, non_mated) if measured <= fmr)
    assert found == pytest.approx(expected, abs=1e-9)


def test_equal_error_rate_of_two_normals_equals_the_closed_form():
    generator = np.random.default_rng(0)
    mated = generator.normal(0.6, 0.1, 200_000).astype(np.float32)
    non_mated = generator.normal(0.3, 0.1, 200_000).astype(np.float32)
    # equal spreads cross half way: 1.5 standard deviations from either mean
    assert equal_error_rate(mated, non_mated) == pytest.approx(norm.sf(1.5), abs=1e-3)


def test_equal_error_rate_when_similarities_are_reversed_is_one():
    assert equal_error_rate(np.array([0.1], np.float32), np.array([0.9], np.float32)) == 1.0


@pytest.mark.parametrize("measure", [equal_error_rate, min_dcf, det_curve])
def test_metrics_when_one_kind_of_pair_is_absent_name_it(measure):
    with pytest.raises(NoTrialsError, match="no non-mated pair"):
        measure(np.array([0.5], np.float32), np.array([], np.float32))


def test_metrics_when_a_similarity_is_nan_refuse():
    with pytest.raises(NoTrialsError, match="not a number"):
        equal_error_rate(np.array([np.nan], np.float32), np.array([0.1], np.float32))
