"""How much of a clip is audible: an estimate by level alone."""

from typing import Final

import numpy as np

from matchka.errors import (
    SilenceError,
    TooLittleSpeechError,
)
from matchka.modalities.audio.level import root_mean_square
from matchka.vectors import FloatArray

SILENCE_DBFS: Final = -70.0  # a muted 16-bit microphone with dither lies near -90, a whisper above -60


AUDIBLE_BELOW_LOUD_DB: Final = 30.0  # speech sounds lie within 30 dB of the loud ones; pauses below


LOUD_SHARE: Final = 0.95


FRAME_MS: Final = 20  # the usual speech frame


def audible_seconds(samples: FloatArray, sample_rate_hz: int) -> float:
    """Seconds of a clip within 30 dB of its loud frames: an estimate of how much speech it can hold.

    It measures level, not words: steady noise counts as audible.

    Args:
        samples: float32, (samples,).
        sample_rate_hz: their rate.

    Returns: seconds >= 0.

    >>> tone = np.sin(np.arange(16000, dtype=np.float32))
    >>> audible_seconds(np.concatenate([tone, np.zeros(16000, np.float32)]), 16000)
    1.0
    """
    frame = max(1, sample_rate_hz * FRAME_MS // 1000)
    frames = samples[: samples.size // frame * frame].reshape(-1, frame)
    if frames.size == 0:
        return 0.0
    levels = np.sqrt(np.vecdot(frames, frames) / frame)
    # the 95th percentile is the level of the loud frames and ignores single clicks; at least the mean level
    # so that a short word in a long pause is judged by its own level
    at = int(LOUD_SHARE * (levels.size - 1))
    loud = max(float(np.partition(levels, at)[at]), root_mean_square(samples))
    floor = max(loud * 10.0 ** (-AUDIBLE_BELOW_LOUD_DB / 20.0), 10.0 ** (SILENCE_DBFS / 20.0))
    return float(np.count_nonzero(levels >= floor) * frame / sample_rate_hz)


def require_audible(samples: FloatArray, sample_rate_hz: int, min_speech_s: float) -> None:
    """Refuse a clip that is silent, or audible for too short a time.

    Raises: SilenceError, TooLittleSpeechError.
    """
    level_dbfs = 20.0 * float(np.log10(max(root_mean_square(samples), 1e-12)))
    if samples.size and level_dbfs < SILENCE_DBFS:  # a few samples may leave none at another rate
        raise SilenceError(
            f"The clip is silent (RMS below {SILENCE_DBFS:g} dBFS).",
            value=f"{level_dbfs:.1f} dBFS",
            remedy="Check that the microphone is on and record again.",
        )
    audible = audible_seconds(samples, sample_rate_hz)
    if audible < min_speech_s:
        raise TooLittleSpeechError(
            f"The clip needs at least {min_speech_s:g} s of speech.",
            value=f"{audible:.2f} s",
            remedy="Send a longer clip; 3 s or more works best.",
        )
