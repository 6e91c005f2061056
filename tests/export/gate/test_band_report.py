"""Bands of a value: who is in which, and that few subjects decide nothing."""

from dataclasses import replace

import numpy as np
import pytest

from matchka.bundles.outputs.condition import Condition
from matchka.scorers import COSINE
from matchka_export.errors import UndecidableError
from matchka_export.gate.band_report import ALONE, WITH_BETTER, report_bands, scored_by_sample, split_by_condition
from matchka_train.features.features import Features

CONDITION = Condition(value="snr_db", edges=(0.0,))


def made(subjects: int, spread: float, snr_db: float, seed: int) -> tuple[Features, Features]:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).standard_normal((subjects, 4))
    rows = np.repeat(centres, 6, axis=0) + spread * rng.standard_normal((subjects * 6, 4))
    names = tuple(f"s{number // 6}" for number in range(subjects * 6))
    count = len(names)
    found = Features(
        rows.astype(np.float32),
        np.ones(count, np.int64),
        names,
        ("d",) * count,
        tuple(map(str, range(count))),
        np.tile(np.array([[0, 1]], np.float32), (count, 1)),
    )
    return found, replace(found, windows=np.full((count, 1), snr_db, np.float32))


def test_split_by_condition_when_bands_are_mixed_puts_better_ones_beside_the_worse():
    (low, low_snr), (high, high_snr) = made(12, 0.5, -3.0, 0), made(12, 0.5, 5.0, 1)
    bands = split_by_condition(CONDITION, scored_by_sample([low, high], COSINE), [low_snr, high_snr])
    assert [len(band[ALONE][1]) for band in bands] == [72, 72]
    assert [len(band[WITH_BETTER][1]) for band in bands] == [144, 72]
    np.testing.assert_array_equal(bands[0][ALONE][0].vectors, low.windows)


def test_split_by_condition_when_a_band_has_few_subjects_is_refused():
    low, values = made(12, 0.5, -3.0, 0)
    with pytest.raises(UndecidableError, match="Band 1"):
        split_by_condition(CONDITION, scored_by_sample([low], COSINE), [values])


@pytest.mark.slow
def test_report_bands_when_the_worse_band_is_noisier_keeps_the_rate_in_each():
    (low, low_snr), (high, high_snr) = made(30, 1.0, -3.0, 0), made(30, 0.2, 5.0, 1)
    samples = scored_by_sample([low, high], COSINE)
    reports = report_bands(split_by_condition(CONDITION, samples, [low_snr, high_snr]), 4, seed=0)
    for report, features in zip(reports, (low, high), strict=True):
        unit = features.windows / np.linalg.norm(features.windows, axis=1, keepdims=True)
        names = np.asarray(features.subjects)
        others = (unit @ unit.T)[names[:, None] != names]
        for point in report.operating_points["1"]:
            assert np.mean(others >= point.threshold) <= point.fmr * 1.5
