"""Audio: bytes -> mono samples at the model's rate -> level -> the waveform windows the graph takes."""

import io
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import soundfile
import soxr

from matchka.errors import (
    AudioTooLongError,
    EmptyFileError,
    NonFiniteSamplesError,
    NoSamplesError,
    NotAudioError,
    SilenceError,
    TooLittleSpeechError,
    TruncatedFileError,
    UnsupportedSampleRateError,
)
from matchka.modalities.audio.containers import is_known_audio, missing_bytes
from matchka.vectors import FloatArray

LOWEST_SAMPLE_RATE_HZ: Final = 4_000  # below it the band that carries voices is gone
HIGHEST_SAMPLE_RATE_HZ: Final = 384_000  # the highest a sound card records; above it the header is wrong
READABLE_FORMATS: Final = ("WAV", "WAVEX", "FLAC", "OGG", "MP3")  # libsndfile reads more; fewer decoders face strangers
WITH_CHECKED_LENGTH: Final = (b"RIFF", b"fLaC", b"OggS")  # their decoders stop at damage; MP3's skips it
UNKNOWN_TO_LIBSNDFILE: Final = (1, 4)  # SF_ERR_UNRECOGNISED_FORMAT and SF_ERR_UNSUPPORTED_ENCODING
UNSTATED_FRAMES: Final = 2**63 - 1  # what libsndfile says of a FLAC stream whose header leaves the length out
READ_BLOCK_SAMPLES: Final = 1 << 20  # bounds the memory of one block whatever the channel count
PCM_16_STEP: Final = np.float32(1 / 32_768)
SILENCE_DBFS: Final = -70.0  # a muted 16-bit microphone with dither lies near -90, a whisper above -60
AUDIBLE_BELOW_LOUD_DB: Final = 30.0  # speech sounds lie within 30 dB of the loud ones; pauses below
RMS_BLOCK_SAMPLES: Final = 1024
LOUD_SHARE: Final = 0.95
FRAME_MS: Final = 20  # the usual speech frame


@dataclass(frozen=True)
class AudioInput:
    """What a bundle's graph takes: windows of one length, cut from a clip of one rate and level.

    Attributes:
        sample_rate_hz: rate the clip is resampled to.
        window_samples: samples of one window, the graph's second axis.
        hop_samples: distance between the starts of two windows.
        context_samples: samples before a window's first frame centre that belong to it (zeros at the clip's start).
        level_dbfs: quieter clips are raised to this RMS level; louder ones stay.
    """

    sample_rate_hz: int
    window_samples: int
    hop_samples: int
    context_samples: int
    level_dbfs: float


@dataclass(frozen=True)
class AudioLimits:
    """How long a clip may and must be, in seconds."""

    max_duration_s: float
    min_speech_s: float


def read_clip(data: bytes, sample_rate_hz: int, limits: AudioLimits) -> FloatArray:
    """Decode WAV, FLAC, OGG (Opus, Vorbis) or MP3, average the channels and resample.

    Args:
        data: the whole file.
        sample_rate_hz: the rate wanted.
        limits: longest clip, and least audible material.

    Returns: float32, (samples,), finite, full scale 1.

    Raises:
        EmptyFileError, NotAudioError, TruncatedFileError, NoSamplesError: not a whole audio file.
        UnsupportedSampleRateError: rate outside 4 to 384 kHz.
        NonFiniteSamplesError: NaN or infinite samples.
        AudioTooLongError, SilenceError, TooLittleSpeechError: outside the limits.
    """
    samples = _decode(data, sample_rate_hz, limits.max_duration_s)
    # Float files may pass full scale, and the level rule only raises: an unbounded peak would reach the graph.
    peak = _finite_peak(samples)  # again, as the resampler can overflow on samples that were finite
    if peak > 1.0:
        samples = samples / np.float32(peak)
    _require_speech(samples, sample_rate_hz, limits.min_speech_s)
    return samples


def split_windows(samples: FloatArray, spec: AudioInput) -> FloatArray:
    """Raise the level of a clip and cut it into the windows the graph takes.

    Frames see their true neighbours at a window's edges and zeros only beyond the clip, so the windows of a clip give
    the same spectra as one pass over the whole clip.

    Args:
        samples: float32, (samples,), at spec.sample_rate_hz, at least one sample.
        spec: the bundle's input.

    Returns: float32, (windows, spec.window_samples), windows >= 1; a copy.

    Source: the window rule is that of Wan et al. 2018, arXiv:1710.10467, as its public GE2E implementation applies it.
    """
    useful = spec.window_samples - 2 * spec.context_samples  # samples a window adds beyond its context
    # windows until the clip's end is covered; on real speech, leaving out a last window that is mostly zeros costs
    # accuracy (docs/decisions/030)
    count = 1 + max(0, -(-(samples.size - useful) // spec.hop_samples))
    length = spec.window_samples + (count - 1) * spec.hop_samples
    padded = np.zeros(length, np.float32)
    kept = samples[: length - spec.context_samples]
    np.multiply(
        kept, level_gain(samples, spec.level_dbfs), out=padded[spec.context_samples : spec.context_samples + kept.size]
    )
    views = np.lib.stride_tricks.sliding_window_view(padded, spec.window_samples)
    return np.ascontiguousarray(views[:: spec.hop_samples])


def level_gain(samples: FloatArray, level_dbfs: float) -> np.float32:
    """What raises a clip to an RMS level: 1 for a louder clip and for a silent one.

    Args:
        samples: float32, (samples,), full scale 1.
        level_dbfs: RMS level in dB relative to full scale.

    >>> float(level_gain(np.full(4, 0.125, np.float32), 20.0 * np.log10(0.5)))
    4.0
    """
    rms = _rms(samples)
    return np.float32(max(1.0, 10.0 ** (level_dbfs / 20.0) / rms)) if rms > 0.0 else np.float32(1.0)


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
    loud = max(float(np.partition(levels, at)[at]), _rms(samples))
    floor = max(loud * 10.0 ** (-AUDIBLE_BELOW_LOUD_DB / 20.0), 10.0 ** (SILENCE_DBFS / 20.0))
    return float(np.count_nonzero(levels >= floor) * frame / sample_rate_hz)


class _ForwardFile(soundfile.SoundFile):
    """A file that is only read on: seeking after each block breaks FLAC streams that do not state their length."""

    def seekable(self) -> bool:
        return False


def _decode(data: bytes, sample_rate_hz: int, max_duration_s: float) -> FloatArray:
    """Read, average and resample blockwise, so that memory is bounded by the limit and not by the header."""
    if not data:
        raise EmptyFileError("The file is empty (0 bytes).", remedy="Send the recording's bytes in the file field.")
    if not is_known_audio(data):
        raise _not_audio("no known header")
    missing = missing_bytes(data)
    if missing:
        raise _truncated(f"{missing} bytes are missing")
    try:
        with _ForwardFile(io.BytesIO(data)) as file:
            if file.format not in READABLE_FORMATS:
                raise _not_audio(file.format)
            _require_sample_rate(file.samplerate)
            return _read_blocks(file, sample_rate_hz, max_duration_s)
    except soundfile.LibsndfileError as error:
        if data[:4] in WITH_CHECKED_LENGTH and error.code not in UNKNOWN_TO_LIBSNDFILE:
            raise _truncated(error.error_string) from error
        raise _not_audio(error.error_string) from error


def _read_blocks(file: soundfile.SoundFile, sample_rate_hz: int, max_duration_s: float) -> FloatArray:
    most_frames = int(max_duration_s * file.samplerate)
    # one frame more than the header states, whose absence tells the end; it may be wrong, so more blocks can follow
    stated = file.frames if 0 < file.frames < most_frames else most_frames
    block_frames = min(stated + 1, max(1, READ_BLOCK_SAMPLES // file.channels))
    is_16_bit = file.subtype == "PCM_16"
    resampler = (
        None
        if file.samplerate == sample_rate_hz
        else soxr.ResampleStream(file.samplerate, sample_rate_hz, 1, quality="HQ")
    )
    blocks: list[FloatArray] = []
    frames = 0
    is_last = False
    while not is_last:
        block = file.read(block_frames, dtype="int16" if is_16_bit else "float32", always_2d=True)
        frames += len(block)
        is_last = len(block) < block_frames
        if frames > most_frames:
            raise AudioTooLongError(
                f"The clip is longer than {max_duration_s:g} s.", remedy=f"Send at most {max_duration_s:g} s of audio."
            )
        if is_16_bit:
            # libsndfile converts in pieces of 8 KiB, each fetched by a call into Python; as they are, all come in one
            block = block * PCM_16_STEP
        else:
            _finite_peak(block)
        # a float64 mean cannot overflow on float files whose samples are near the float32 limit; that of one channel
        # is the channel, and numpy takes as long over it as the decoder over the file
        mono = block[:, 0] if file.channels == 1 else block.mean(axis=1, dtype=np.float64).astype(np.float32)
        blocks.append(mono if resampler is None else resampler.resample_chunk(mono, last=is_last))
    if frames == 0:
        raise NoSamplesError("The file is audio but holds no samples.", remedy="Record again and send that file.")
    declared = int(file.frames)
    # libsndfile guesses the length of MP3 and of streams; only a lossless container states it to the sample
    if file.format == "FLAC" and frames < declared != UNSTATED_FRAMES:
        raise _truncated(f"{declared - frames} of {declared} samples are missing")
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _finite_peak(samples: FloatArray) -> float:
    """The largest magnitude, 0 where there is nothing. Both extremes are NaN where any sample is."""
    peak = max(float(samples.max(initial=0.0)), -float(samples.min(initial=0.0)))
    if not math.isfinite(peak):
        raise NonFiniteSamplesError(
            "The clip holds samples that are NaN or infinite.", remedy="Write the file again from a clean recording."
        )
    return peak


def _require_sample_rate(rate_hz: int) -> None:
    if not LOWEST_SAMPLE_RATE_HZ <= rate_hz <= HIGHEST_SAMPLE_RATE_HZ:
        raise UnsupportedSampleRateError(
            f"The sample rate must be between {LOWEST_SAMPLE_RATE_HZ} and {HIGHEST_SAMPLE_RATE_HZ} Hz.",
            value=rate_hz,
            remedy="Record at 16,000 Hz or more.",
        )


def _require_speech(samples: FloatArray, sample_rate_hz: int, min_speech_s: float) -> None:
    level_dbfs = 20.0 * float(np.log10(max(_rms(samples), 1e-12)))
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


def _rms(samples: FloatArray) -> float:
    """Root mean square, 0 of nothing. float32 within a block and float64 beyond it: no copy, and exact to 3e-7."""
    whole = samples.size // RMS_BLOCK_SAMPLES * RMS_BLOCK_SAMPLES
    blocks, rest = samples[:whole].reshape(-1, RMS_BLOCK_SAMPLES), samples[whole:]
    energy = float(np.vecdot(blocks, blocks).sum(dtype=np.float64)) + float(np.vecdot(rest, rest))
    return math.sqrt(energy / max(1, samples.size))


def _not_audio(what: str) -> NotAudioError:
    return NotAudioError(
        "The file is not audio of a known kind.", value=what, remedy="Send WAV, FLAC, OGG (Opus or Vorbis) or MP3."
    )


def _truncated(what: str) -> TruncatedFileError:
    return TruncatedFileError(
        "The file is damaged or ends before its own header says.",
        value=what,
        remedy="Send the whole file; check the upload.",
    )
