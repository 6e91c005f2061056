"""Bounds of what is heard of a text, out of clips that say it."""

import math

import numpy as np
import pytest

from matchka.vectors import FloatArray
from matchka_export.phonemes.measure import heard_bounds

TEXT = [[(1, 2, 3, 4)], [(5, 6, 7, 8, 9, 10)]]


def clip_of(heard: int, certainty: float) -> FloatArray:
    """Twenty frames that say so many phones, each label as likely as `certainty`."""
    labels = [number % 10 + 1 for number in range(heard)] + [0] * (20 - heard)
    likely = np.full((20, 11), (1 - certainty) / 10, np.float32)
    likely[range(20), labels] = certainty
    return np.log(likely)


def test_heard_bounds_doubt_the_lowest_of_two_hundred_and_refuse_none() -> None:
    generator = np.random.default_rng(0)
    certainties = generator.uniform(0.8, 0.95, 201)
    heard = generator.integers(5, 12, 201)
    heard[:3] = (3, 2, 13)
    bounds = heard_bounds([(clip_of(n, c), TEXT) for n, c in zip(heard, certainties, strict=True)])
    # of 201 clips a share of .005 lies at the second lowest; both are rounded down to two decimals
    assert bounds.clear_free_log_posterior == pytest.approx(math.floor(100 * math.log(sorted(certainties)[1])) / 100)
    assert (bounds.least_share, bounds.most_share) == (pytest.approx(0.3), pytest.approx(1.3))
