"""A clip that a decoder hands over in blocks: averaged, bounded and resampled as it comes."""

import math
from typing import Final

import numpy as np
import soxr

from matchka.errors import (
    AudioTooLongError,
    NonFiniteSamplesError,
    NoSamplesError,
    TruncatedFileError,
    UnsupportedSampleRateError,
)
from matchka.vectors import FloatArray

LOWEST_SAMPLE_RATE_HZ: Final = 4_000  # below it the band that carries voices is gone
HIGHEST_SAMPLE_RATE_HZ: Final = 384_000  # the highest a sound card records; above it the header is wrong


class ClipBuilder:
    """Memory is bounded by the limit, and not by what a header states.

    Args:
        source_rate_hz: that of the blocks.
        sample_rate_hz: the rate wanted.
        max_duration_s: longest clip.

    Attributes:
        frames: samples of each channel so far.
    """

    def __init__(self, source_rate_hz: int, sample_rate_hz: int, max_duration_s: float) -> None:
        self.frames = 0
        self.most_frames = int(max_duration_s * source_rate_hz)
        self._max_duration_s = max_duration_s
        self._resampler = (
            None
            if source_rate_hz == sample_rate_hz
            else soxr.ResampleStream(source_rate_hz, sample_rate_hz, 1, quality="HQ")
        )
        self._blocks: list[FloatArray] = []

    def count(self, frames: int) -> None:
        """Note that so many further samples were decoded.

        Raises: AudioTooLongError: there are more than the limit allows.
        """
        self.frames += frames
        if self.frames > self.most_frames:
            raise AudioTooLongError(
                f"The clip is longer than {self._max_duration_s:g} s.",
                remedy=f"Send at most {self._max_duration_s:g} s of audio.",
            )

    def add(self, block: FloatArray, *, is_last: bool = False) -> None:
        """Append samples that were counted. Args: block: (frames, channels), finite; is_last: no other follows."""
        # a float64 mean cannot overflow on float files whose samples are near the float32 limit; that of one channel
        # is the channel, and numpy takes as long over it as the decoder over the file
        mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float64).astype(np.float32)
        self._blocks.append(mono if self._resampler is None else self._resampler.resample_chunk(mono, last=is_last))

    def finish(self) -> FloatArray:
        """The clip, (samples,), behind its last block.

        Raises: NoSamplesError: there was none.
        """
        if self.frames == 0:
            raise NoSamplesError("The file is audio but holds no samples.", remedy="Record again and send that file.")
        return self._blocks[0] if len(self._blocks) == 1 else np.concatenate(self._blocks)


def finite_peak(samples: FloatArray) -> float:
    """The largest magnitude, 0 where there is nothing. Both extremes are NaN where any sample is.

    Raises: NonFiniteSamplesError: NaN or infinite samples.
    """
    peak = max(float(samples.max(initial=0.0)), -float(samples.min(initial=0.0)))
    if not math.isfinite(peak):
        raise NonFiniteSamplesError(
            "The clip holds samples that are NaN or infinite.", remedy="Write the file again from a clean recording."
        )
    return peak


def require_sample_rate(rate_hz: int) -> None:
    """Refuse what no sound card records. Raises: UnsupportedSampleRateError."""
    if not LOWEST_SAMPLE_RATE_HZ <= rate_hz <= HIGHEST_SAMPLE_RATE_HZ:
        raise UnsupportedSampleRateError(
            f"The sample rate must be between {LOWEST_SAMPLE_RATE_HZ} and {HIGHEST_SAMPLE_RATE_HZ} Hz.",
            value=rate_hz,
            remedy="Record at 16,000 Hz or more.",
        )


def truncated(what: str) -> TruncatedFileError:
    """The error that says a clip is damaged. Args: what: what shows it."""
    return TruncatedFileError(
        "The file is damaged or ends before its own header says.",
        value=what,
        remedy="Send the whole file; check the upload.",
    )
