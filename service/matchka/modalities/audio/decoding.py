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
    TruncatedFileError,
    UnsupportedSampleRateError,
)
from matchka.modalities.audio.activity import require_audible
from matchka.modalities.audio.containers import is_known_audio, missing_bytes
from matchka.vectors import FloatArray

LOWEST_SAMPLE_RATE_HZ: Final = 4_000  # below it the band that carries voices is gone
HIGHEST_SAMPLE_RATE_HZ: Final = 384_000  # the highest a sound card records; above it the header is wrong
# libsndfile reads more; fewer decoders are exposed to untrusted input
READABLE_FORMATS: Final = ("WAV", "WAVEX", "FLAC", "OGG", "MP3")
WITH_CHECKED_LENGTH: Final = (b"RIFF", b"fLaC", b"OggS")  # their decoders stop at damage; MP3's skips it
UNKNOWN_TO_LIBSNDFILE: Final = (1, 4)  # SF_ERR_UNRECOGNISED_FORMAT and SF_ERR_UNSUPPORTED_ENCODING
UNSTATED_FRAMES: Final = 2**63 - 1  # what libsndfile says of a FLAC stream whose header leaves the length out
READ_BLOCK_SAMPLES: Final = 1 << 20  # bounds the memory of one block whatever the channel count
PCM_16_STEP: Final = np.float32(1 / 32_768)


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
    require_audible(samples, sample_rate_hz, limits.min_speech_s)
    return samples


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
