"""Points and intervals of what a bundle states, against slower computations."""

import numpy as np
import pytest
from scipy.stats import binomtest

from matchka.bundles.outputs.measurements import Metrics
from matchka_export.plots.stated import det_points, eer_of, fnmr_at, interval


def metrics(eer: float, tars: dict[str, float], subjects: int = 50) -> Metrics:
    return Metrics(eer=eer, min_dcf=0.5, tar_at_fmr=tars, subjects=subjects, mated_pairs=1000, non_mated_pairs=20_000)


@pytest.mark.parametrize(("failures", "trials"), [(0, 10), (1, 60), (30, 125), (368, 368)])
def test_interval_is_that_of_scipy(failures: int, trials: int):
    found = interval(failures / trials, trials)
    expected = binomtest(failures, trials).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_interval_holds_the_rate_also_where_it_is_none_or_all():
    for subjects in range(1, 2000):
        for rate in (0.0, 1.0):
            found = interval(rate, subjects)
            assert 0 <= found.low <= rate <= found.high <= 1


def test_interval_covers_the_bootstrap_by_subject():
    rng = np.random.default_rng(3)
    own = rng.beta(0.3, 2.7, size=60)  # rates of single subjects, far apart
    fails = rng.random((60, 190)) < own[:, None]
    rate = fails.mean()
    resampled = [fails[rng.integers(60, size=60)].mean() for _ in range(2000)]
    low, high = np.quantile(resampled, (0.025, 0.975))
    found = interval(float(rate), 60)
    assert found.low <= low
    assert found.high >= high


def test_points_are_the_stated_rates_by_rising_fmr():
    stated = metrics(0.05, {"0.01": 0.9, "0.001": 0.7})
    np.testing.assert_allclose(det_points(stated), [(0.001, 0.3), (0.01, 0.1), (0.05, 0.05)])
    assert eer_of(stated).value == 0.05
    assert fnmr_at(stated, "0.001").value == pytest.approx(0.3)


@pytest.mark.parametrize(("tar", "expected"), [(1.0, 0.0005), (0.0, 0.9995)])
def test_rate_without_a_deviate_is_drawn_as_half_a_pair(tar: float, expected: float):
    assert det_points(metrics(0.2, {"0.01": tar}))[0] == pytest.approx((0.01, expected))
