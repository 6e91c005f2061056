"""How far a clip is overdriven."""

import numpy as np
import pytest
from scipy.stats import kurtosis as reference

from matchka.phrases.distortion import kurtosis


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (1e-4, 0.0), (1.0, 0.3)])
def test_kurtosis_of_made_samples_is_that_of_the_library_at_every_level(gain: float, offset: float) -> None:
    samples = np.random.default_rng(1).laplace(0.0, 0.1, 20_000)
    found = kurtosis((gain * samples + offset).astype(np.float32))
    assert found == pytest.approx(reference(samples, fisher=False), rel=1e-3)


def test_kurtosis_when_the_peaks_are_cut_off_falls_towards_one() -> None:
    samples = np.random.default_rng(1).laplace(0.0, 0.1, 20_000).astype(np.float32)
    found = [kurtosis(np.clip(drive * samples, -1.0, 1.0)) for drive in (1.0, 10.0, 100.0, 10_000.0)]
    assert found == sorted(found, reverse=True)
    assert found[-1] == pytest.approx(1.0, abs=0.01)
