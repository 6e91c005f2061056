"""Image files by their segments and chunks: what a decoder needs for the pixels, and the orientation.

Nothing else of a file reaches a decoder: notes about a picture can be made to cost more than the picture. Measured on
24 million pixels: a further pass of a progressive JPEG is 42 bytes and 13 ms, and 20 MiB hold 500,000 of them; a
million empty PNG chunks cost 2.8 s.
"""

import re
import struct
from dataclasses import dataclass
from typing import Final

from matchka.errors import ImageTooComplexError, TruncatedFileError

JPEG_SIGNATURE: Final = b"\xff\xd8\xff"
PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

# A marker that is neither a stuffed zero, a fill byte nor a restart within a pass (ISO/IEC 10918-1, B.1.1).
JPEG_MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
START_OF_IMAGE, END_OF_IMAGE, START_OF_SCAN, TEMPORARY, NOTES = 0xD8, 0xD9, 0xDA, 0x01, 0xE1
# Frames, Huffman, arithmetic and quantisation tables, scans, restart interval.
JPEG_TABLES: Final = frozenset({*range(0xC0, 0xD0), 0xDA, 0xDB, 0xDD}) - {0xC8}
JPEG_COLOURS: Final = {0xE0: b"JFIF\0", 0xEE: b"Adobe"}  # segments that name the colours, and how they begin
PNG_NEEDED: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})

# Far above what encoders write, far below what costs more than the pixels: usual progressive files have 10 passes,
# 64 KB of tables are 100 times theirs, and 20 MiB in chunks of 8 KiB are 2,560.
MAX_SCANS: Final = 32
MAX_TABLE_BYTES: Final = 64 * 1024
MAX_PARTS: Final = 16_384

ORIENTATION_TAG: Final = 0x0112
UPRIGHT: Final = 1
EXIF_NUMBERS: Final = {1: "B", 3: "H", 4: "I"}  # by type: byte, short, long
EXIF_SIGNATURE: Final = b"Exif\0\0"
XMP_SIGNATURE: Final = b"http://ns.adobe.com/xap/1.0/\0"
PNG_XMP: Final = b"XML:com.adobe.xmp\0\0"  # key, and that what follows is not compressed, as XMP requires of PNG
XMP_BYTES: Final = 64 * 1024  # as much of a packet is looked at; a JPEG's is no longer
XMP_ORIENTATION: Final = re.compile(rb"""tiff:Orientation(?:\s*=\s*["']|\s*>)\s*([1-8])\b""")


@dataclass(frozen=True)
class BareFile:
    """An image file without its metadata.

    Attributes:
        data: the file, as short as its pixels allow.
        exif: the EXIF block, unread; empty where there is none.
        xmp: the XMP packet, unread; empty where there is none.
        scans: passes over the pixels; 1 where the format knows no more.
    """

    data: bytes
    exif: bytes
    xmp: bytes
    scans: int


def strip_metadata(data: bytes) -> BareFile:
    """Leave what JPEG and PNG need for their pixels; other formats stay as they are.

    What follows a JPEG's end, a film for example, goes as well.

    Raises:
        TruncatedFileError: a JPEG that ends before its own end marker.
        ImageTooComplexError: more passes, tables, segments or chunks than a picture has.
    """
    if data.startswith(JPEG_SIGNATURE):
        return _strip_jpeg(data)
    if data.startswith(PNG_SIGNATURE):
        return _strip_png(data)
    return BareFile(data, b"", b"", 1)


def read_orientation(exif: bytes, xmp: bytes = b"") -> int:
    r"""The orientation that an EXIF block states, or else an XMP packet, 1..8; 1 where none does.

    Of EXIF only the first directory's own entries are looked at; no pointer is followed. XMP is not parsed.
    Source: Exif 2.32, 4.6; XMP part 2, 3.1.
    >>> read_orientation(b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0")
    6
    >>> read_orientation(b"", b'<rdf:Description tiff:Orientation="8"/>')
    8
    """
    stated = _exif_orientation(exif)
    if stated is not None:
        return stated
    found = XMP_ORIENTATION.search(xmp[:XMP_BYTES])
    return UPRIGHT if found is None else int(found[1])


def _exif_orientation(exif: bytes) -> int | None:
    """What an EXIF block states; None where it states nothing or is damaged."""
    block = exif.removeprefix(EXIF_SIGNATURE)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (entries,) = struct.unpack_from(f"{order}H", block, start)
        for place in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind, count = struct.unpack_from(f"{order}HHI", block, place)
            if tag == ORIENTATION_TAG and kind in EXIF_NUMBERS and count == 1:
                (orientation,) = struct.unpack_from(order + EXIF_NUMBERS[kind], block, place + 8)
                return int(orientation) if 1 <= orientation <= 8 else UPRIGHT
    except struct.error:
        pass  # a damaged note about the picture does not spoil the picture
    return None


def _strip_jpeg(data: bytes) -> BareFile:
    kept: list[bytes | memoryview] = [data[:2]]
    exif = xmp = b""
    position, scans, table_bytes = 2, 0, 0
    for _ in range(MAX_PARTS):
        marker, after = _next_marker(data, position)
        if marker == END_OF_IMAGE:
            return BareFile(b"".join([*kept, b"\xff\xd9"]), exif, xmp, scans)
        if marker in (START_OF_IMAGE, TEMPORARY):
            position = after
            continue
        position = after + int.from_bytes(data[after : after + 2], "big")
        segment = data[after:position]
        if position < after + 2 or position > len(data):
            raise damaged("no end-of-image marker")
        if marker in JPEG_TABLES:
            kept += [bytes((0xFF, marker)), segment]
            table_bytes += len(segment)
        elif _note(segment, JPEG_COLOURS.get(marker, b"")):
            kept += [bytes((0xFF, marker)), segment]
        elif marker == NOTES:
            exif = exif or _note(segment, EXIF_SIGNATURE)
            xmp = xmp or _note(segment, XMP_SIGNATURE)
        if marker == START_OF_SCAN:
            scans += 1
            scan_start, position = position, _next_marker(data, position)[1] - 2
            kept.append(memoryview(data)[scan_start:position])  # not copied twice
        if scans > MAX_SCANS or table_bytes > MAX_TABLE_BYTES:
            raise _too_complex(f"{scans} passes over its pixels, {table_bytes} bytes of tables")
    raise _too_complex(f"more than {MAX_PARTS} segments")


def _note(segment: bytes, signature: bytes) -> bytes:
    """What follows a signature at a segment's beginning; empty where there is another, or none is asked for."""
    return segment[2 + len(signature) :] if signature and segment.startswith(signature, 2) else b""


def _next_marker(data: bytes, position: int) -> tuple[int, int]:
    """The next marker's code, and where what follows it begins."""
    found = JPEG_MARKER.search(data, position)
    if found is None:
        raise damaged("no end-of-image marker")
    return data[found.end() - 1], found.end()


def _strip_png(data: bytes) -> BareFile:
    kept, exif, xmp, position = [PNG_SIGNATURE], b"", b"", len(PNG_SIGNATURE)
    for _ in range(MAX_PARTS):
        length, name = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        end = position + 12 + length
        if name in PNG_NEEDED:
            kept.append(data[position:end])
        elif name == b"eXIf" and not exif:
            exif = data[position + 8 : end - 4]
        elif name == b"iTXt" and not xmp and data.startswith(PNG_XMP, position + 8):
            xmp = data[position + 8 : min(end - 4, position + 8 + XMP_BYTES)]
        position = end
        if name == b"IEND" or position >= len(data):  # whether the pixels are whole is the decoder's to say
            return BareFile(b"".join(kept), exif, xmp, 1)
    raise _too_complex(f"more than {MAX_PARTS} chunks")


def damaged(value: object) -> TruncatedFileError:
    """The error that says a picture is damaged. Args: value: what shows it."""
    return TruncatedFileError(
        "The picture is damaged or cut short.", value=value, remedy="Send the whole file; check the upload."
    )


def _too_complex(value: str) -> ImageTooComplexError:
    return ImageTooComplexError(
        f"The picture's file takes more work to decode than its pixels: at most {MAX_SCANS} passes, "
        f"{MAX_TABLE_BYTES // 1024} KiB of tables and {MAX_PARTS} segments or chunks are read.",
        value=value,
        remedy="Save it again as a plain JPEG or PNG.",
    )
