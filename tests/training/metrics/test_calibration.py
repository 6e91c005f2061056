"""Calibration against a slow general optimiser, minCllr against pooling by hand, thresholds against known normals."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import beta, norm

from matchka_train.errors import NoTrialsError
from matchka_train.metrics.calibration import (
    calibrate,
    cllr,
    fit_logistic,
    independent_subject_pairs,
    min_cllr,
    thresholds_at,
)
from matchka_train.metrics.pairs import PairSimilarities, all_pairs


def normals(subjects: int, per_pair: int, seed: int = 0) -> PairSimilarities:
    """Non-mated ~ N(0.2, 0.1), mated ~ N(0.6, 0.1)."""
    generator = np.random.default_rng(seed)
    first, second = np.triu_indices(subjects, k=1)
    who = np.repeat(np.stack([first, second], axis=1), per_pair, axis=0).astype(np.int32)
    return PairSimilarities(
        mated=generator.normal(0.6, 0.1, subjects * 50).astype(np.float32),
        non_mated=generator.normal(0.2, 0.1, len(who)).astype(np.float32),
        mated_subjects=np.repeat(np.arange(subjects), 50).astype(np.int32),
        non_mated_subjects=who,
        subject_count=subjects,
    )


def slow_cllr(mated, non_mated):
    misses = sum(np.log2(1 + np.exp(-value)) for value in mated) / len(mated)
    return (misses + sum(np.log2(1 + np.exp(value)) for value in non_mated) / len(non_mated)) / 2


def test_fit_logistic_on_overlapping_pairs_equals_a_general_optimiser():
    generator = np.random.default_rng(1)
    mated = generator.normal(0.6, 0.2, 300).astype(np.float32)
    non_mated = generator.normal(0.2, 0.1, 900).astype(np.float32)
    best = minimize(
        lambda line: slow_cllr(line[0] * mated + line[1], line[0] * non_mated + line[1]),
        [1.0, 0.0],
        method="Nelder-Mead",
        options={"xatol": 1e-7, "fatol": 1e-12, "maxiter": 4000},
    )
    assert fit_logistic(mated, non_mated) == pytest.approx(tuple(best.x), rel=2e-3)


def test_fit_logistic_on_equal_normals_finds_their_true_ratio():
    pairs = normals(40, 50)
    scale, offset = fit_logistic(pairs.mated, pairs.non_mated)
    # the log ratio of N(0.6, 0.1) and N(0.2, 0.1) is (0.4 / 0.01) (s - 0.4)
    assert scale == pytest.approx(40, rel=0.1)
    assert -offset / scale == pytest.approx(0.4, abs=0.01)


def test_fit_logistic_on_separated_pairs_stays_finite():
    scale, offset = fit_logistic(np.array([0.8, 0.9], np.float32), np.array([0.1, 0.2], np.float32))
    assert np.isfinite([scale, offset]).all()
    assert scale > 0


def test_cllr_on_any_ratios_equals_a_loop():
    generator = np.random.default_rng(2)
    mated, non_mated = generator.normal(1, 2, 40), generator.normal(-1, 2, 70)
    assert cllr(mated, non_mated) == pytest.approx(slow_cllr(mated, non_mated), abs=1e-12)


def pool_by_hand(labels, weights):
    """Pool adjacent violators, block by block."""
    blocks = []
    for label, weight in zip(labels, weights, strict=True):
        blocks.append([label * weight, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]:
            total, weight_, length = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + weight_, blocks[-1][2] + length]
    return [total / weight for total, weight, length in blocks for _ in range(length)]


def test_min_cllr_on_pairs_with_ties_equals_pooling_by_hand():
    generator = np.random.default_rng(5)
    mated = np.round(generator.normal(0.6, 0.3, 80), 1).astype(np.float32)
    non_mated = np.round(generator.normal(0.2, 0.3, 130), 1).astype(np.float32)
    values = sorted({*mated.tolist(), *non_mated.tolist()})
    hits = [int(np.sum(mated == np.float32(value))) for value in values]
    all_ = [hit + int(np.sum(non_mated == np.float32(value))) for hit, value in zip(hits, values, strict=True)]
    posterior = pool_by_hand([hit / total for hit, total in zip(hits, all_, strict=True)], all_)
    cost = 0.0
    for value, share in zip(values, posterior, strict=True):
        ratio = np.inf if share == 1 else (share / (1 - share)) / (80 / 130)
        cost += np.sum(mated == np.float32(value)) * (np.log2(1 + 1 / ratio) if ratio else 0) / 80 / 2
        cost += np.sum(non_mated == np.float32(value)) * (np.log2(1 + ratio) if ratio < np.inf else 0) / 130 / 2
    assert min_cllr(mated, non_mated) == pytest.approx(cost, abs=1e-9)


def test_calibrate_on_well_behaved_pairs_is_nearly_as_cheap_as_possible():
    fit = calibrate(normals(40, 50), seed=0)
    assert fit.min_cllr <= fit.cllr <= fit.min_cllr + 0.02


def test_thresholds_of_a_fisher_normal_equal_its_quantiles_measured_and_extrapolated():
    pairs = normals(60, 40)  # 1,770 independent pairs: supports 1e-1, not 1e-2
    pairs = replace(pairs, non_mated=np.tanh(pairs.non_mated))
    points = thresholds_at(pairs, seed=0, resamples=50)
    assert [point.measured for point in points] == [True, False, False, False]
    for point in points:
        assert point.estimate == pytest.approx(np.tanh(0.2 + 0.1 * norm.isf(point.fmr)), abs=0.012)


def test_thresholds_of_random_directions_equal_the_exact_distribution_of_their_cosine():
    generator = np.random.default_rng(4)
    dim, subjects = 16, 60
    directions = generator.standard_normal((subjects * 20, dim)).astype(np.float32)
    pairs = all_pairs(directions, [f"s{number // 20}" for number in range(subjects * 20)])
    for point in thresholds_at(pairs, seed=0, resamples=50):
        # (1 + cosine) / 2 of random directions follows a beta distribution; at 1e-4 the tail of 1e-2 has to reach it
        exact = 2 * beta.isf(point.fmr, (dim - 1) / 2, (dim - 1) / 2) - 1
        assert point.estimate == pytest.approx(exact, abs=0.02)
        assert point.threshold < 1


def test_thresholds_when_measured_do_not_pass_their_rate():
    pairs = normals(300, 2)  # 44,850 independent pairs: supports 1e-3
    points = thresholds_at(pairs, seed=0, resamples=50)
    assert [point.measured for point in points] == [True, True, True, False]
    for point in points[:3]:
        matches = sum(1 for value in pairs.non_mated.tolist() if value >= point.estimate)
        assert matches <= point.fmr * pairs.non_mated.size
        # and the next lower similarity would pass it
        below = max(value for value in pairs.non_mated.tolist() if value < point.estimate)
        assert sum(1 for value in pairs.non_mated.tolist() if value >= below) > point.fmr * pairs.non_mated.size


def test_independent_subject_pairs_count_each_pair_of_people_once():
    assert independent_subject_pairs(normals(10, 7)) == 45


def test_calibrate_on_three_subjects_refuses():
    with pytest.raises(NoTrialsError):
        calibrate(normals(2, 3), seed=0)
