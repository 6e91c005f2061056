"""Detection costs against loops over thresholds, and a line that other people set."""

import math
from dataclasses import replace

import numpy as np
import pytest

from matchka_train.metrics.calibration import fit_logistic
from matchka_train.metrics.detection_costs import PRIORS, detection_costs
from matchka_train.metrics.pairs import PairSimilarities, all_pairs
from tests.factories.features import make_features


def some_pairs(identities: int = 12) -> PairSimilarities:
    features = make_features(identities=identities, clips=4, dim=6, spread=0.9)
    return all_pairs(features.pooled(), list(features.subjects))


def cost(pairs: PairSimilarities, threshold: float, prior: float) -> float:
    """Of both errors, by counting; relative to rejecting everybody."""
    misses = sum(value < threshold for value in pairs.mated.tolist()) / len(pairs.mated)
    alarms = sum(value >= threshold for value in pairs.non_mated.tolist()) / len(pairs.non_mated)
    return (prior * misses + (1 - prior) * alarms) / prior


def test_detection_costs_with_a_line_are_those_of_its_bayes_thresholds():
    pairs, (scale, offset) = some_pairs(), (20.0, -16.0)
    found = detection_costs(pairs, (scale, offset), seed=0)
    assert [entry.prior for entry in found] == [0.05, 0.01, 0.001]
    values = [*pairs.mated.tolist(), *pairs.non_mated.tolist(), math.inf]
    for entry in found:
        threshold = (math.log((1 - entry.prior) / entry.prior) - offset) / scale
        assert entry.act_dcf == pytest.approx(cost(pairs, threshold, entry.prior))
        assert entry.min_dcf == pytest.approx(min(cost(pairs, value, entry.prior) for value in values))
        assert entry.min_dcf <= entry.act_dcf


def test_detection_costs_without_a_line_judge_each_half_by_the_line_of_the_other():
    pairs = some_pairs()
    found = detection_costs(pairs, None, seed=3)
    half = np.random.default_rng(3).permutation(12) % 2
    for prior, entry in zip(PRIORS, found, strict=True):
        expected = []
        for number in (0, 1):
            own, other = pairs.within(half == number), pairs.within(half != number)
            scale, offset = fit_logistic(own.mated, own.non_mated)
            expected.append(cost(other, (math.log((1 - prior) / prior) - offset) / scale, prior))
        assert entry.act_dcf == pytest.approx(sum(expected) / 2)


def test_detection_costs_of_too_few_people_to_calibrate_on_have_no_actual_cost():
    pairs = some_pairs(identities=3)
    assert [entry.act_dcf for entry in detection_costs(pairs, None, seed=0)] == [None] * 3
    assert all(0 <= entry.min_dcf <= 1 for entry in detection_costs(replace(pairs), None, seed=0))
