"""Whether a clip is speech: Silero's voice activity detector, and spectra that no voice is as narrow as."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from matchka.errors import NoSpeechError
from matchka.modalities.audio.level import level_gain
from matchka.modalities.graph import Graph
from matchka.vectors import FloatArray

SAMPLE_RATE_HZ: Final = 16_000
FRAME_SAMPLES: Final = 512
FRAME_S: Final = FRAME_SAMPLES / SAMPLE_RATE_HZ
CONTEXT_SAMPLES: Final = 64  # of the frame before, which the network sees in front of each frame
STATE_SHAPE: Final = (1, 1, 128)  # of the recurrent layer's hidden and cell state
# What the graph takes, behind the first axis of each input.
INPUT_SHAPES: Final = {"input": (CONTEXT_SAMPLES + FRAME_SAMPLES,), "h": STATE_SHAPE[1:], "c": STATE_SHAPE[1:]}
OUTPUTS: Final = ("speech_probs", "hn", "cn")
FRAMES_AT_ONCE: Final = 32  # a second of audio: most clips hold speech enough within their first or second one

# Half a second of frames at least so likely: 99.8 % of 2,500 clips pass, and no steady sound (docs/decisions/033).
SPEECH_PROBABILITY: Final = 0.7
LEAST_LEVEL_DBFS: Final = -40.0  # quieter clips are raised to it: at -60 the network misses one voice in six
# The network takes a tone that swells at the rate of syllables for a vowel; but a tone has its power in one place, and
# a voice has harmonics.
NARROW_BAND_BINS: Final = 5  # of 31.25 Hz
NARROW_BAND_SHARE: Final = 0.9
# It takes a few steady tones that beat or swell for a vowel too. Within a second a voice moves over a spectrum full of
# harmonics; they stay in their places, at most 18 bins (docs/decisions/033), where 2,494 of 2,500 voices fill 22.
AUDIBLE_RANGE_DB: Final = 30.0  # a bin counts that is as near to the strongest; noise below it is no spectrum
LEAST_AUDIBLE_BINS: Final = 20  # 625 Hz


class SpeechDetector:
    """Silero's voice activity detector over many frames a run. Safe to call from threads.

    Args: graph: `silero_vad_16k_sequence.onnx` of the Python package silero-vad, with INPUT_SHAPES and OUTPUTS.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def require_speech(self, samples: FloatArray, min_speech_s: float) -> None:
        """Refuse a clip without speech enough; a clip of speech is read only until there is.

        Args:
            samples: float32, (samples,), 16 kHz, full scale 1.
            min_speech_s: least speech, in seconds, wherever in the clip.

        Raises: NoSpeechError: there is less.
        """
        found_s = 0.0
        for block_s in self.speech_seconds(samples):
            found_s += block_s
            if found_s >= min_speech_s:
                return
        raise NoSpeechError(
            f"The clip needs at least {min_speech_s:g} s of speech; it is loud enough, but not a voice.",
            value=f"{found_s:.2f} s",
            remedy="Record a person who speaks, near the microphone and without music.",
        )

    def speech_seconds(self, samples: FloatArray) -> Iterator[float]:
        """Seconds of speech in each second of a clip, one after the other; see require_speech()."""
        for frames, probabilities in self._runs(samples * level_gain(samples, LEAST_LEVEL_DBFS)):
            power = power_spectra(frames[:, CONTEXT_SAMPLES:])
            is_speech = (probabilities >= SPEECH_PROBABILITY) & ~is_narrow(power)
            is_voice = audible_bins(power[is_speech]) >= LEAST_AUDIBLE_BINS
            yield int(np.count_nonzero(is_speech)) * FRAME_S if is_voice else 0.0

    def probabilities(self, samples: FloatArray) -> FloatArray:
        """How likely each frame of 32 ms is speech.

        Args: samples: float32, (samples,), 16 kHz, full scale 1; the last frame is filled up with zeros.

        Returns: float32, (frames,), in [0, 1].
        """
        return np.concatenate([np.zeros(0, np.float32), *(found for _, found in self._runs(samples))])

    def _runs(self, samples: FloatArray) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Frames with their context, (frames, 576), and their probabilities, block by block."""
        hidden = cell = np.zeros(STATE_SHAPE, np.float32)
        frames = split_frames(samples)
        for start in range(0, len(frames), FRAMES_AT_ONCE):
            block = np.ascontiguousarray(frames[start : start + FRAMES_AT_ONCE])
            probabilities, hidden, cell = self._graph.run(OUTPUTS, {"input": block, "h": hidden, "c": cell})
            yield block, probabilities


def split_frames(samples: FloatArray) -> FloatArray:
    """Cut a clip into frames of 512 samples, each behind the last 64 samples of the one before.

    Args: samples: float32, (samples,).

    Returns: float32, (frames, 576), read-only; zeros before the clip and behind it.

    >>> split_frames(np.arange(1.0, 514.0, dtype=np.float32))[:, [0, 63, 64, 575]]
    array([[  0.,   0.,   1., 512.],
           [449., 512., 513.,   0.]], dtype=float32)
    """
    count = -(-samples.size // FRAME_SAMPLES)
    padded = np.zeros(CONTEXT_SAMPLES + max(1, count) * FRAME_SAMPLES, np.float32)
    padded[CONTEXT_SAMPLES : CONTEXT_SAMPLES + samples.size] = samples
    views = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT_SAMPLES + FRAME_SAMPLES)
    return views[::FRAME_SAMPLES][:count]


def power_spectra(frames: FloatArray) -> FloatArray:
    """Power of each frame by frequency, under a Hann window.

    Args: frames: float32, (frames, 512), 16 kHz.

    Returns: float32, (frames, 256): from 31.25 Hz to 8 kHz, as an offset is no sound.
    """
    spectra = np.fft.rfft(frames * np.hanning(FRAME_SAMPLES).astype(np.float32), axis=1)[:, 1:]
    return (spectra.real**2 + spectra.imag**2).astype(np.float32)


def is_narrow(power: FloatArray) -> npt.NDArray[np.bool_]:
    """Which frames have nearly all of their power within 156 Hz, as a tone has and a voice has not.

    Args: power: float32, (frames, 256), of power_spectra().

    Returns: bool, (frames,); false for a frame of zeros.

    >>> time = np.arange(512, dtype=np.float32)
    >>> noise = np.random.default_rng(0).normal(size=512).astype(np.float32)
    >>> is_narrow(power_spectra(np.stack([np.sin(0.1 * time), noise, 0 * time])))
    array([ True, False, False])
    """
    sums = np.cumsum(np.pad(power, ((0, 0), (1, 0))), axis=1, dtype=np.float64)
    strongest = np.max(sums[:, NARROW_BAND_BINS:] - sums[:, :-NARROW_BAND_BINS], axis=1)
    narrow: npt.NDArray[np.bool_] = strongest > NARROW_BAND_SHARE * sums[:, -1]
    return narrow


def audible_bins(power: FloatArray) -> int:
    """How many bins of the summed spectrum of some frames are within 30 dB of the strongest one.

    The loud frames decide, so that the noise between the beats of a sound does not count.

    Args: power: float32, (frames, 256), of power_spectra().

    Returns: 0 to 256; 0 for no frame and for zeros.

    >>> time = np.arange(1024, dtype=np.float32)
    >>> audible_bins(power_spectra(np.sin(0.1 * time).reshape(2, 512)))
    4
    """
    summed = np.sum(power, axis=0, dtype=np.float64)
    return int(np.count_nonzero(summed > np.max(summed) * 10 ** (-AUDIBLE_RANGE_DB / 10)))
