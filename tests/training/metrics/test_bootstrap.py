"""Weighted error rates against repeated pairs, and intervals on systems whose difference is known."""

from dataclasses import replace

import numpy as np
import pytest

from matchka_train.errors import NoTrialsError
from matchka_train.metrics.bootstrap import RankedPairs, draw_eers, draw_rates, paired_difference
from matchka_train.metrics.error_rates import equal_error_rate
from matchka_train.metrics.pairs import all_pairs
from tests.factories.features import make_features


@pytest.fixture
def good():
    features = make_features(identities=25, clips=4, dim=16, spread=0.7)
    return all_pairs(features.pooled(), list(features.subjects))


@pytest.fixture
def bad():
    features = make_features(identities=25, clips=4, dim=16, spread=2.0)
    return all_pairs(features.pooled(), list(features.subjects))


def slow_bootstrap(first, second, seed, resamples):
    """Draw identities, and repeat every pair as often as the draw says."""
    generator = np.random.default_rng(seed)
    differences = []
    for _ in range(resamples):
        drawn = generator.integers(0, first.subject_count, first.subject_count)
        times = [int(np.sum(drawn == subject)) for subject in range(first.subject_count)]
        rates = []
        for system in (first, second):
            mated = [v for v, who in zip(system.mated, system.mated_subjects, strict=True) for _ in range(times[who])]
            non_mated = [
                v
                for v, (a, b) in zip(system.non_mated, system.non_mated_subjects, strict=True)
                for _ in range(times[a] * times[b])
            ]
            rates.append(equal_error_rate(np.array(mated), np.array(non_mated)))
        differences.append(rates[0] - rates[1])
    return np.quantile(differences, [0.025, 0.975])


def test_paired_difference_equals_a_bootstrap_that_repeats_pairs(good, bad):
    found = paired_difference(bad, good, seed=7, resamples=12)
    assert (found.low, found.high) == pytest.approx(tuple(slow_bootstrap(bad, good, 7, 12)), abs=1e-9)
    assert found.eer == pytest.approx(equal_error_rate(bad.mated, bad.non_mated))
    assert found.other_eer == pytest.approx(equal_error_rate(good.mated, good.non_mated))


def test_paired_difference_of_clearly_different_systems_is_significant_both_ways(good, bad):
    assert paired_difference(bad, good, seed=0, resamples=100).significantly_worse
    assert paired_difference(good, bad, seed=0, resamples=100).significantly_better


def test_paired_difference_of_a_system_with_itself_is_nothing(good):
    found = paired_difference(good, good, seed=0, resamples=50)
    assert (found.low, found.high) == (0, 0)
    assert not found.significantly_worse
    assert not found.significantly_better


def test_paired_difference_on_other_pairs_refuses(good):
    features = make_features(identities=25, clips=3, dim=16)
    with pytest.raises(NoTrialsError, match="same pairs"):
        paired_difference(good, all_pairs(features.pooled(), list(features.subjects)), seed=0)


def test_draw_eers_gives_each_draw_the_eer_of_repeated_pairs(good, bad):
    """Of several systems at once, and with most non-mated pairs only counted."""
    found = draw_eers([good, bad], seed=7, resamples=12)
    differences = np.quantile(found[1].draws - found[0].draws, [0.025, 0.975])
    assert tuple(differences) == pytest.approx(tuple(slow_bootstrap(bad, good, 7, 12)), abs=1e-9)
    assert found[0].rate == pytest.approx(equal_error_rate(good.mated, good.non_mated))


@pytest.mark.parametrize("ranked", [1e-6, 0.01, 0.1, 0.3, None])
@pytest.mark.parametrize("digits", [1, 2, 8])
def test_ranked_pairs_give_the_eer_of_all_pairs_however_few_are_ranked(good, bad, ranked, digits):
    """To the last bit, with ties and where errors are equal far below what is ranked."""
    generator = np.random.default_rng(0)
    for pairs in (good, bad):
        rounded = replace(pairs, mated=pairs.mated.round(digits), non_mated=pairs.non_mated.round(digits))
        few, whole = RankedPairs(rounded, ranked), RankedPairs(rounded, 1.0)
        for _ in range(20):
            drawn = generator.integers(0, pairs.subject_count, pairs.subject_count)
            weights = np.bincount(drawn, minlength=pairs.subject_count).astype(np.float64)
            assert few.eer(weights) == whole.eer(weights)
        nobody_twice = np.zeros(pairs.subject_count)
        nobody_twice[3] = 5
        assert few.eer(nobody_twice) is None


def test_ranked_pairs_with_a_similarity_that_is_not_finite_refuse(good):
    with pytest.raises(NoTrialsError, match="not a number"):
        RankedPairs(replace(good, mated=np.append(good.mated[1:], np.float32(np.nan))))


def test_draw_rates_of_a_system_without_any_rate_refuses():
    with pytest.raises(NoTrialsError):
        draw_rates([lambda _: None], 5, seed=0)
