"""Tails of impostors: against order statistics by hand, and against galleries that are really drawn."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from matchka_train.errors import NoTrialsError
from matchka_train.metrics.impostor_tails import ImpostorTails, fit_tails


def quantile(share: float) -> float:
    """The x with Phi(x) = share, by bisection of the error function."""
    low, high = -12.0, 12.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 + math.erf(middle / math.sqrt(2))) / 2 < share else (low, middle)
    return low


def crowd(
    count: int, samples: int, dim: int, seed: int, spread: float = 0.3
) -> tuple[npt.NDArray[np.float32], list[str]]:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((count, dim)) + np.where(np.arange(dim) == 0, 2.0, 0.0)
    rows = np.repeat(centres, samples, axis=0) + spread * rng.standard_normal((count * samples, dim))
    return rows.astype(np.float32), [f"p{number}" for number in range(count) for _ in range(samples)]


def cosine(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    return float(np.dot(a, b) / math.sqrt(np.dot(a, a)) / math.sqrt(np.dot(b, b)))


def test_fit_tails_when_references_are_samples_lays_the_least_squares_line_through_the_upper_fifth():
    rows, subjects = crowd(30, 2, 8, 1)
    tails = fit_tails(rows, subjects, 6, templates=1, draws=4, seed=0)
    for number in (0, 17, 59):
        z = sorted(
            math.atanh(cosine(rows[number, :6], other[:6]))
            for other, name in zip(rows, subjects, strict=True)
            if name != subjects[number]
        )
        top = [(quantile((rank + 0.5) / 58), z[rank]) for rank in range(46, 58)]  # 12 of 58 are the upper fifth
        mean_x, mean_z = sum(x for x, _ in top) / 12, sum(y for _, y in top) / 12
        slope = sum((x - mean_x) * (y - mean_z) for x, y in top) / sum((x - mean_x) ** 2 for x, _ in top)
        assert tails.deviations[number] == pytest.approx(slope, rel=1e-4)
        assert tails.means[number] == pytest.approx(mean_z - slope * mean_x, abs=1e-4)


def test_fit_tails_when_references_hold_several_samples_leaves_an_impostor_s_own_out():
    """A subject of identical samples would be most similar to itself: the tail must not know it."""
    rows, subjects = crowd(40, 3, 8, 2, spread=0.0)
    tails = fit_tails(rows, subjects, 8, templates=3, draws=2, seed=0)
    single = fit_tails(rows, subjects, 8, templates=1, draws=1, seed=0)
    # references of equal samples are those samples: only their number differs, 78 against 117
    np.testing.assert_allclose(tails.means, single.means, atol=0.05)
    best = [max(cosine(a, b) for b in rows[::3] if not np.array_equal(a, b)) for a in rows[::3]]
    assert np.mean([tails.false_positive_rate(value, 1) for value in best]) > 0.001


@pytest.mark.parametrize("size", [1, 7, 1000, 1_000_000])
def test_threshold_when_inverted_gives_the_rate_asked_for(size: int):
    tails = ImpostorTails(np.array([0.1, 0.3, 0.5]), np.array([0.1, 0.2, 0.05]))
    for rate in (0.1, 0.01, 0.001):
        z = math.atanh(tails.threshold(rate, size))
        none = [
            math.pow(0.5 * math.erfc(-(z - mean) / deviation / math.sqrt(2)), size)
            for mean, deviation in ((0.1, 0.1), (0.3, 0.2), (0.5, 0.05))
        ]
        assert 1 - sum(none) / 3 == pytest.approx(rate, rel=1e-3)


def test_threshold_when_galleries_are_drawn_keeps_the_rate():
    """Thresholds of half of a crowd, on galleries and impostors of the other half; pairs alone would not keep them."""
    rows, subjects = crowd(600, 2, 12, 3)
    half = 600
    tails = fit_tails(rows[:half], subjects[:half], 12, templates=1, draws=1, seed=0)
    unit = rows[half:] / np.linalg.norm(rows[half:], axis=1, keepdims=True)
    impostors, gallery = unit[0:300], unit[300:600:2]
    passed = (impostors @ gallery.T).max(axis=1) >= tails.threshold(0.1, len(gallery))
    assert 0.05 < passed.mean() < 0.17


def test_fit_tails_when_too_few_subjects_have_such_references_refuses():
    rows, subjects = crowd(29, 3, 8, 4)
    with pytest.raises(NoTrialsError, match="30 subjects with 3 samples"):
        fit_tails(rows, subjects, 8, templates=3, draws=1, seed=0)
