"""Made speech: what is warmed up and compared with looks like a clip that was cut into windows."""

import numpy as np
import pytest

from matchka.modalities.audio.example import speech_like
from matchka.modalities.audio.spec import AudioInputSpec

SPEC = AudioInputSpec(
    sample_rate_hz=16_000, window_samples=1_840, hop_samples=800, context_samples=200, level_dbfs=-30.0
)


def test_speech_like_when_made_again_is_the_same_and_audible() -> None:
    for samples in (8_001, 25_599):
        first, second = (speech_like(samples, 16_000, seed=3) for _ in range(2))
        assert np.array_equal(first, second)
        assert 0.01 < float(np.sqrt(np.mean(first**2))) < 0.5
        assert float(np.abs(first).max()) < 1.0


@pytest.mark.parametrize("rows", [1, 30])
def test_example_is_at_least_as_loud_as_the_level_and_ends_in_the_last_window(rows: int) -> None:
    windows = SPEC.example(rows, seed=0)
    clip = windows.ravel()[: -(1_840 // 3)]
    assert 20 * np.log10(np.sqrt(np.mean(clip.astype(np.float64) ** 2))) >= -30.001
    assert not windows[-1, -(1_840 // 3) :].any()
    assert windows[:-1].std(axis=1).min(initial=1.0) > 0
