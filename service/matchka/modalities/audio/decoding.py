"""Audio: bytes -> mono samples at the model's rate -> level -> the waveform windows the graph takes."""

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
import soundfile

from matchka.errors import EmptyFileError, NotAudioError
from matchka.modalities.audio.activity import require_audible
from matchka.modalities.audio.containers import is_known_audio, missing_bytes
from matchka.modalities.audio.decoders.clip import ClipBuilder, finite_peak, require_sample_rate, truncated
from matchka.modalities.audio.decoders.table import EXTRA_FORMATS
from matchka.modalities.extra_formats import find_format
from matchka.vectors import FloatArray

# libsndfile reads more; fewer decoders are exposed to untrusted input
READABLE_FORMATS: Final = ("WAV", "WAVEX", "FLAC", "OGG", "MP3")
WITH_CHECKED_LENGTH: Final = (b"RIFF", b"fLaC", b"OggS")  # their decoders stop at damage; MP3's skips it
UNKNOWN_TO_LIBSNDFILE: Final = (1, 4)  # SF_ERR_UNRECOGNISED_FORMAT and SF_ERR_UNSUPPORTED_ENCODING
UNSTATED_FRAMES: Final = 2**63 - 1  # what libsndfile says of a FLAC stream whose header leaves the length out
READ_BLOCK_SAMPLES: Final = 1 << 20  # bounds the memory of one block whatever the channel count
PCM_16_STEP: Final = np.float32(1 / 32_768)
ALWAYS_READ: Final = "WAV, FLAC, OGG (Opus or Vorbis) or MP3"
FORMATS_SETTING: Final = "MATCHKA_AUDIO__FORMATS"


@dataclass(frozen=True)
class AudioLimits:
    """How long a clip may and must be, in seconds, and which further formats are read (decoders.table)."""

    max_duration_s: float
    min_speech_s: float
    formats: tuple[str, ...] = ()


def read_clip(data: bytes, sample_rate_hz: int, limits: AudioLimits) -> FloatArray:
    """Decode WAV, FLAC, OGG (Opus, Vorbis), MP3 or a further format, average the channels and resample.

    Args:
        data: the whole file.
        sample_rate_hz: the rate wanted.
        limits: longest clip, least audible material, and further formats.

    Returns: float32, (samples,), finite, full scale 1.

    Raises:
        EmptyFileError, NotAudioError, TruncatedFileError, NoSamplesError: not a whole audio file.
        FormatNotEnabledError: of a further format that the limits do not name.
        UnsupportedSampleRateError: rate outside 4 to 384 kHz.
        NonFiniteSamplesError: NaN or infinite samples.
        AudioTooLongError, SilenceError, TooLittleSpeechError: outside the limits.
    """
    samples = _decode(data, sample_rate_hz, limits)
    # Float files may pass full scale, and the level rule only raises: an unbounded peak would reach the graph.
    peak = finite_peak(samples)  # again, as the resampler can overflow on samples that were finite
    if peak > 1.0:
        samples = samples / np.float32(peak)
    require_audible(samples, sample_rate_hz, limits.min_speech_s)
    return samples


class _ForwardFile(soundfile.SoundFile):
    """A file that is only read on: seeking after each block breaks FLAC streams that do not state their length."""

    def seekable(self) -> bool:
        return False


def _decode(data: bytes, sample_rate_hz: int, limits: AudioLimits) -> FloatArray:
    """Read, average and resample blockwise, so that memory is bounded by the limit and not by the header."""
    if not data:
        raise EmptyFileError("The file is empty (0 bytes).", remedy="Send the recording's bytes in the file field.")
    extra = find_format(data, EXTRA_FORMATS, limits.formats, setting=FORMATS_SETTING, always=ALWAYS_READ)
    if extra is not None:
        return extra.decoder(data, sample_rate_hz, limits.max_duration_s)
    if not is_known_audio(data):
        raise _not_audio("no known header")
    missing = missing_bytes(data)
    if missing:
        raise truncated(f"{missing} bytes are missing")
    try:
        with _ForwardFile(io.BytesIO(data)) as file:
            if file.format not in READABLE_FORMATS:
                raise _not_audio(file.format)
            require_sample_rate(file.samplerate)
            return _read_blocks(file, sample_rate_hz, limits.max_duration_s)
    except soundfile.LibsndfileError as error:
        if data[:4] in WITH_CHECKED_LENGTH and error.code not in UNKNOWN_TO_LIBSNDFILE:
            raise truncated(error.error_string) from error
        raise _not_audio(error.error_string) from error


def _read_blocks(file: soundfile.SoundFile, sample_rate_hz: int, max_duration_s: float) -> FloatArray:
    clip = ClipBuilder(file.samplerate, sample_rate_hz, max_duration_s)
    # one frame more than the header states, whose absence tells the end; it may be wrong, so more blocks can follow
    stated = file.frames if 0 < file.frames < clip.most_frames else clip.most_frames
    block_frames = min(stated + 1, max(1, READ_BLOCK_SAMPLES // file.channels))
    is_16_bit = file.subtype == "PCM_16"
    is_last = False
    while not is_last:
        block = file.read(block_frames, dtype="int16" if is_16_bit else "float32", always_2d=True)
        is_last = len(block) < block_frames
        clip.count(len(block))
        if is_16_bit:
            # libsndfile converts in pieces of 8 KiB, each fetched by a call into Python; as they are, all come in one
            block = block * PCM_16_STEP
        else:
            finite_peak(block)
        clip.add(block, is_last=is_last)
    samples, declared = clip.finish(), int(file.frames)
    # libsndfile guesses the length of MP3 and of streams; only a lossless container states it to the sample
    if file.format == "FLAC" and clip.frames < declared != UNSTATED_FRAMES:
        raise truncated(f"{declared - clip.frames} of {declared} samples are missing")
    return samples


def _not_audio(what: str) -> NotAudioError:
    return NotAudioError("The file is not audio of a known kind.", value=what, remedy=f"Send {ALWAYS_READ}.")
