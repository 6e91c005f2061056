"""Made speech, for machines that hold no recordings."""

from typing import Final

import numpy as np

from matchka.vectors import FloatArray

VOICE_HZ: Final = 140.0
HARMONICS: Final = 24


def speech_like(samples: int, sample_rate_hz: int, seed: int) -> FloatArray:
    """A clip with the loudness, harmonics and pauses of speech.

    Args:
        samples: its length.
        sample_rate_hz: its rate.
        seed: draws the noise.

    Returns: float32, (samples,), peak below 1.
    """
    generator = np.random.default_rng(seed)
    time_s = np.arange(samples) / sample_rate_hz
    pitch_hz = VOICE_HZ * (1.0 + 0.1 * np.sin(2 * np.pi * 0.7 * time_s))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / sample_rate_hz
    voiced = np.zeros(samples)
    for harmonic in range(1, HARMONICS):
        voiced += np.sin(harmonic * phase) / harmonic
    syllables = np.clip(np.sin(2 * np.pi * 3.0 * time_s), 0.0, 1.0)  # about three syllables a second, pauses between
    clip: FloatArray = (0.1 * voiced * syllables + 0.002 * generator.standard_normal(samples)).astype(np.float32)
    return clip
