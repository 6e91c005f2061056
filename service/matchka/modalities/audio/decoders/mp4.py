"""MP4 and M4A, which phones record: boxes, by ISO/IEC 14496-12."""

import re
import struct
from types import MappingProxyType
from typing import Final

import numpy as np

from matchka.errors import NotAudioError
from matchka.modalities.audio.decoders.clip import truncated
from matchka.modalities.audio.decoders.ffmpeg import MOST_ALAC_FRAMES, MOV, decode
from matchka.vectors import FloatArray

PICTURES: Final = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis")  # brands of stills
SAMPLES: Final = b"mdat"  # the box that demuxers do not look into
# Boxes that state a number of samples, or of groups of them, which nothing in the file has to back: a demuxer makes a
# row of memory for each, 24 bytes, so that 100 bytes of file can ask for 4 GB. By name: how far behind it it stands.
COUNTS: Final = MappingProxyType({b"stsz": 8, b"stz2": 8, b"trun": 4, b"stco": 4, b"co64": 4, b"stsc": 4})
GROUPS: Final = b"stsc"  # lists how many samples are together
COMPRESSED: Final = b"cmov"  # a whole header, deflated
LOOKED_FOR: Final = re.compile(b"|".join([*COUNTS, COMPRESSED]))
# Lists of fragments, which may point into samples: a demuxer would read there what nobody has looked at.
INDICES: Final = re.compile(b"sidx|mfra|tfra")
UNUSED: Final = b"free"
ALAC_COOKIE: Final = re.compile(
    rb"alac\0{4}(.{4})", re.DOTALL
)  # its packets' samples: a decoder that is opened takes room
SAMPLES_PER_S: Final = 1_000  # Opus has at most 400, AAC about 100, a film beside it 240


def begins_like_mp4(data: bytes) -> bool:
    """Whether a file begins like MP4 that is no picture.

    >>> begins_like_mp4(bytes(4) + b"ftypM4A "), begins_like_mp4(bytes(4) + b"ftypheic")
    (True, False)
    """
    return data[4:8] == b"ftyp" and data[8:12] not in PICTURES


def decode_mp4(data: bytes, sample_rate_hz: int, max_duration_s: float) -> FloatArray:
    """See ffmpeg.decode.

    Raises:
        TruncatedFileError: a box goes on behind the end; or as said there.
        NotAudioError: its header states more samples than the longest clip has, or is compressed; or as said there.
    """
    require_modest_headers(data, int(SAMPLES_PER_S * max(1.0, max_duration_s)))
    return decode(without_indices(data), MOV, sample_rate_hz, max_duration_s)


def require_modest_headers(data: bytes, most_samples: int) -> None:
    """Walk the outermost boxes, and look at what those beside the samples state, wherever in them it stands.

    Raises:
        TruncatedFileError: a box goes on behind the end.
        NotAudioError: more samples stated than `most_samples`, or a compressed header.
    """
    position, stated = 0, 0
    while position < len(data):
        name, end = _box(data, position)
        if end > len(data):
            raise truncated(f"{end - len(data)} bytes are missing")
        if name != SAMPLES:
            stated += _stated_samples(data[position:end], most_samples)
        if stated > most_samples:
            raise _immodest(stated)
        position = end


def without_indices(data: bytes) -> bytes:
    """A file, whose boxes are whole, that is read from its begin to its end: no list of fragments, no open length.

    A demuxer that has such a list goes on where it says, also amid the samples of a box without a length.
    """
    parts, position = [], 0
    while position < len(data):
        name, end = _box(data, position)
        part = data[position:end]
        if part.startswith(bytes(4)):
            part = (end - position).to_bytes(4, "big") + part[4:]
        parts.append(part if name == SAMPLES else INDICES.sub(UNUSED, part))
        position = end
    return b"".join(parts)


def _stated_samples(header: bytes, most_samples: int) -> int:
    """The numbers that a box's bytes state, and the largest group, wherever a demuxer might find them."""
    stated = 0
    for cookie in ALAC_COOKIE.finditer(header):
        if (frames := int.from_bytes(cookie[1], "big")) > MOST_ALAC_FRAMES:
            raise _immodest(frames)
    for found in LOOKED_FOR.finditer(header):
        if found[0] == COMPRESSED:
            raise _immodest("a compressed header")
        at = found.end() + COUNTS[found[0]]
        count = int.from_bytes(header[at : at + 4], "big")
        stated += count
        if stated > most_samples:
            break
        if found[0] == GROUPS:  # rows of first chunk, samples of each chunk, description
            rows = header[at + 4 : at + 4 + 12 * count]
            groups = np.frombuffer(rows[: len(rows) // 12 * 12], ">u4")
            stated = max(stated, int(groups[1::3].max(initial=0)))
    return stated


def _box(data: bytes, position: int) -> tuple[bytes, int]:
    """A box's name, and where it ends."""
    try:
        size, name = struct.unpack_from(">I4s", data, position)
        least = 8
        if size == 1:  # the size follows in eight bytes
            least = 16
            (size,) = struct.unpack_from(">Q", data, position + 8)
        elif size == 0:  # to the end of the file
            size = len(data) - position
    except struct.error as error:
        raise truncated("a box without its size") from error
    if size < least:
        raise truncated(f"a box of {size} bytes")
    return name, position + size


def _immodest(value: object) -> NotAudioError:
    return NotAudioError(
        "The file's header states more samples than its clip can have, or hides them.",
        value=value,
        remedy="Export the clip again as plain M4A, or send WAV, FLAC, OGG or MP3.",
    )
