"""WAV files of two channels, I and Q, as receivers' programs for sound cards write them."""

import io
import struct
from typing import Final

import numpy as np
import soundfile

from matchka.errors import TruncatedFileError
from matchka.modalities.iq.errors import RecordingHeaderError, SampleLengthError, UnsupportedSampleTypeError
from matchka.modalities.iq.formats.recording import FINEST_BITS, LengthLimits, Recording

MAGIC: Final = (b"RIFF", b"WAVE")
BITS: Final = {"PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
FLOATS: Final = ("FLOAT", "DOUBLE")
CHANNELS: Final = 2
CHUNK_HEADER_BYTES: Final = 8
MOST_CHUNKS: Final = 1000  # before the samples; recorders write a handful


def is_wav(data: bytes) -> bool:
    """Whether a file begins like WAV."""
    return (data[:4], data[8:12]) == MAGIC


def read_wav(data: bytes, length: LengthLimits) -> Recording:
    """Two channels of integers of 8 to 32 bits, or of floating-point numbers; the left one is I.

    Raises:
        RecordingHeaderError: no decoder reads it.
        UnsupportedSampleTypeError: another number of channels, or compressed samples.
        TruncatedFileError: fewer bytes than its header says.
        SampleLengthError: no whole number of samples.
        RecordingTooShortError, RecordingTooLongError: see LengthLimits.
    """
    stated = _require_data(data)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if file.channels != CHANNELS or file.subtype not in (*BITS, *FLOATS):
                raise UnsupportedSampleTypeError(
                    "A WAV file of a recording must have two channels, I and Q, of uncompressed samples.",
                    value=f"channels: {file.channels}, subtype: {file.subtype}",
                    remedy="Write both channels as 16-bit or floating-point samples.",
                )
            bits = BITS.get(file.subtype)
            sample_bytes = CHANNELS * (bits // 8 if bits else 4 * (1 + FLOATS.index(file.subtype)))
            if stated % sample_bytes:
                raise SampleLengthError(
                    f"Samples take {sample_bytes} bytes each, and the data chunk has no whole number of them.",
                    value=f"{stated} bytes",
                    remedy="Send the whole file.",
                )
            length.require(file.frames)
            pairs = np.ascontiguousarray(file.read(dtype="float32", always_2d=True))
    except soundfile.LibsndfileError as error:
        raise _bad_header(error.error_string) from error
    samples = pairs.reshape(-1).view(np.complex64)
    return Recording(samples, 1.0 - 2.0 ** (1 - min(bits, FINEST_BITS))) if bits else Recording(samples)


def _require_data(data: bytes) -> int:
    """Walk the chunks: bytes of the data chunk, all of which must be there.

    Raises:
        TruncatedFileError: they are not.
        RecordingHeaderError: there is no such chunk among the first MOST_CHUNKS.
    """
    position = 12
    for _ in range(MOST_CHUNKS):
        if position + CHUNK_HEADER_BYTES > len(data):
            break
        name, length = struct.unpack_from("<4sI", data, position)
        position += CHUNK_HEADER_BYTES
        if name == b"data":
            if length > len(data) - position:
                raise TruncatedFileError(
                    "The file ends before its own header says: its data chunk is not whole.",
                    value=f"{len(data) - position} of {length} bytes",
                    remedy="Send the whole file; a recorder that was stopped hard leaves a wrong length.",
                )
            return int(length)
        position += length + length % 2  # chunks are padded to even lengths
    raise _bad_header(f"no data chunk among the first {MOST_CHUNKS}")


def _bad_header(what: str) -> RecordingHeaderError:
    return RecordingHeaderError(
        "The file is no WAV that can be read.", value=what, remedy="Write it again as stereo WAV."
    )
