"""A recording -> the windows that a graph takes."""

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from matchka.errors import EmptyFileError
from matchka.modalities.iq.errors import (
    ClippedRecordingError,
    ImplausibleSamplesError,
    NonFiniteRecordingError,
    NoSignalError,
)
from matchka.modalities.iq.finding import RecordingFinding
from matchka.modalities.iq.formats import SampleFormat, read_recording
from matchka.modalities.iq.formats.recording import LengthLimits, Recording
from matchka.modalities.iq.settings import IqSettings
from matchka.modalities.iq.spec import IqInputSpec
from matchka.modalities.iq.windows import windows_of
from matchka.modalities.modality import Graphs, Observation
from matchka.runtime.stage_timer import StageTimes
from matchka.vectors import FloatArray

# 240 dB on either side of 1.0 hold every receiver's scale; swapped bytes or another type give exponents of all sizes
LARGEST_PEAK: Final = 1e12
SMALLEST_PEAK: Final = 1e-12


@dataclass(frozen=True)
class IqOptions:
    """How a recording is read. Attributes: sample_format: as the caller named it; None takes it from the file."""

    sample_format: SampleFormat | None


@dataclass(frozen=True)
class IqReader:
    """Recordings to windows. Nothing is guessed, and nothing is filtered, shifted or resampled."""

    spec: IqInputSpec
    limits: IqSettings = field(default_factory=IqSettings)
    times: StageTimes = field(default_factory=StageTimes)

    def read(self, data: bytes, options: IqOptions) -> list[Observation]:
        """One observation: float32, (windows, 2, window_samples), of unit mean power.

        Raises: EmptyFileError, TruncatedFileError, and every error of matchka.modalities.iq.errors.
        """
        if not data:
            raise EmptyFileError("The file is empty (0 bytes).", remedy="Send the recording's bytes in the file field.")
        with self.times.timed("decode"):
            length = LengthLimits(self.spec.window_samples, self.limits.max_samples)
            recording = read_recording(data, options.sample_format, length)
        with self.times.timed("prepare"):
            power = self._require_signal(recording)
            samples = recording.samples
            rows = windows_of(samples, self.spec.window_samples, self.spec.hop_samples, self.spec.max_windows)
            if not len(rows):
                raise NoSignalError(
                    "Every window of the recording is one constant: there is nothing at any frequency but zero.",
                    remedy="Check the receiver's antenna, gain and frequency.",
                )
            return [Observation(rows, RecordingFinding(len(rows), samples.size, 10 * math.log10(power)))]

    def _require_signal(self, recording: Recording) -> float:
        """Refuse what shows no signal that can be judged; the mean power of the rest."""
        samples = recording.samples
        parts = samples.view(np.float32)  # I and Q in turn
        peak = max(float(parts.max()), -float(parts.min()))  # NaN where any number is
        if not math.isfinite(peak):
            raise NonFiniteRecordingError(
                "The recording holds samples that are NaN or infinite.",
                remedy="Send a clean recording; if sample_format names another type than the file's, correct it.",
            )
        if peak == 0:
            raise NoSignalError("Every sample is zero.", remedy="Check the receiver's antenna, gain and frequency.")
        if not SMALLEST_PEAK <= peak <= LARGEST_PEAK:
            raise ImplausibleSamplesError(
                f"The largest sample must lie between {SMALLEST_PEAK:g} and {LARGEST_PEAK:g}.",
                value=peak,
                remedy="Name the file's own data type in sample_format; raw samples must be little-endian.",
            )
        if recording.top <= peak <= 1.0:  # of floating-point numbers beyond it, nobody knows where full scale is
            self._require_few_at_full_scale(parts, recording.top)
        return 2 * float(np.einsum("i,i->", parts, parts, dtype=np.float64)) / parts.size

    def _require_few_at_full_scale(self, parts: FloatArray, top: float) -> None:
        at_top = (np.abs(parts) >= top).reshape(-1, 2).any(axis=1)
        share = float(at_top.mean())
        if share > self.limits.max_clipped:
            raise ClippedRecordingError(
                f"At most {100 * self.limits.max_clipped:g} % of the samples may lie at full scale.",
                value=f"{100 * share:.2f} %",
                remedy="Record with a lower gain. Made-up samples have to stay below full scale.",
            )


def open_reader(spec: IqInputSpec, limits: IqSettings, _graphs: Graphs, times: StageTimes) -> IqReader:
    """The reader of one bundle."""
    return IqReader(spec, limits, times)
