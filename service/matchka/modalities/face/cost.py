"""What a picture is likely to cost, by the size that its header states."""

import re
import struct
from typing import Final

from matchka.modalities.face.heif import begins_like_heic
from matchka.modalities.face.image_files import JPEG_MARKER, JPEG_SIGNATURE, PNG_SIGNATURE

PICTURE_S: Final = 0.045  # of one core, measured on pictures of 0.3 to 24 million pixels: docs/decisions/150
PER_MEGAPIXEL_S: Final = 0.015  # 0.008 of a JPEG, 0.027 of a PNG
MOST_MEGAPIXELS: Final = 100.0  # whatever a header states
MOST_SEGMENTS: Final = 64  # of a JPEG before its size; usual ones have ten
HEIC_HEADER_BYTES: Final = 1 << 16  # as far as its sizes are looked for, those of tiles and thumbnails among them
HEIC_SIZE: Final = re.compile(rb"ispe.{4}(.{4})(.{4})", re.DOTALL)
START_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def cost_s(data: bytes) -> float:
    """Seconds of one core that reading and embedding a picture are likely to take.

    >>> round(cost_s(PNG_SIGNATURE + struct.pack(">I4sII", 13, b"IHDR", 2000, 1000)), 3)
    0.075
    """
    width, height = stated_size(data)
    return PICTURE_S + PER_MEGAPIXEL_S * min(width * height / 1e6, MOST_MEGAPIXELS)


def stated_size(data: bytes) -> tuple[int, int]:
    """Width and height by the header of a JPEG, PNG, WebP, BMP or HEIC; (0, 0) of all else, which costs nothing."""
    try:
        if data.startswith(JPEG_SIGNATURE):
            return _jpeg_size(data)
        if data.startswith(PNG_SIGNATURE):
            return struct.unpack_from(">II", data, 16)
        if data[:2] == b"BM":
            width, height = struct.unpack_from("<ii", data, 18)
            return abs(width), abs(height)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
        if begins_like_heic(data):
            return _heic_size(data)
    except struct.error:
        pass  # cut short: its reader says so, and at once
    return 0, 0


def _jpeg_size(data: bytes) -> tuple[int, int]:
    position = 2
    for _ in range(MOST_SEGMENTS):
        found = JPEG_MARKER.search(data, position)
        if found is None:
            break
        if data[found.end() - 1] in START_OF_FRAME:
            height, width = struct.unpack_from(">HH", data, found.end() + 3)
            return width, height
        position = found.end() + max(2, int.from_bytes(data[found.end() : found.end() + 2], "big"))
    return 0, 0


def _heic_size(data: bytes) -> tuple[int, int]:
    """The largest of the sizes that are stated (ISO/IEC 23008-12, 6.5.3)."""
    stated = HEIC_SIZE.findall(data[:HEIC_HEADER_BYTES])
    sizes = ((int.from_bytes(width, "big"), int.from_bytes(height, "big")) for width, height in stated)
    return max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))


def _webp_size(data: bytes) -> tuple[int, int]:
    """RFC 9649: 2.5 to 2.7."""
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF
