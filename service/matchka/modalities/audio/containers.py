"""Truncated files: decoders accept a missing end, so the containers' own lengths are checked first."""

import struct
from typing import Final

STREAMED_LENGTHS: Final = (0xFFFFFFFF, 0x7FFFFFFF)  # written by recorders that cannot seek back to fill in a length
OGG_HEADER_BYTES: Final = 27
OGG_END_OF_STREAM: Final = 0x04


def missing_bytes(data: bytes) -> int:
    """How many bytes a container lacks by its own account; 0 where it is whole or makes no statement.

    WAV states the length of its data, OGG marks its last page, and MP3 written by an encoder that adds a Xing or Info
    header states its bytes. FLAC is checked by its decoder. An MP3 without such a header looks whole wherever it ends.

    Args:
        data: the whole file as received.

    Returns: bytes missing (a lower bound), >= 0.

    >>> missing_bytes(b"RIFF" + struct.pack("<I", 136) + b"WAVEdata" + struct.pack("<I", 100) + bytes(40))
    60
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return _missing_in_wav(data)
    if data[:4] == b"OggS":
        return _missing_in_ogg(data)
    return _missing_in_mp3(data)


def is_known_audio(data: bytes) -> bool:
    """Whether a file begins like WAV, FLAC, OGG or MP3; only these reach a decoder.

    >>> is_known_audio(b"RIFF....WEBPVP8 "), is_known_audio(b"ID3")
    (False, True)
    """
    if data[:4] == b"RIFF":
        return data[8:12] == b"WAVE"
    # an MP3 frame begins with eleven set bits
    return data[:4] in (b"fLaC", b"OggS") or data[:3] == b"ID3" or (data[:1] == b"\xff" and data[1:2] >= b"\xe0")


def _missing_in_wav(data: bytes) -> int:
    position = 12
    while position + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, position)
        if name == b"data":
            available = len(data) - position - 8
            return 0 if length in STREAMED_LENGTHS else max(0, length - available)
        position += 8 + length + length % 2  # chunks are padded to even lengths
    return max(1, position + 8 - len(data))  # the data chunk's own header is not there


def _missing_in_ogg(data: bytes) -> int:
    """Walk the pages; the last must be whole and carry the end-of-stream flag (RFC 3533)."""
    position, flags = 0, OGG_END_OF_STREAM
    while position < len(data):
        magic = data[position : position + 4]
        if len(magic) < 4 and b"OggS".startswith(magic):
            return 4 - len(magic)
        if magic != b"OggS":
            return 0  # something behind the stream (tags, padding) or damage that the decoder will report
        if position + OGG_HEADER_BYTES > len(data):
            return position + OGG_HEADER_BYTES - len(data)
        flags, segments = data[position + 5], data[position + 26]
        table_end = position + OGG_HEADER_BYTES + segments
        body = sum(data[position + OGG_HEADER_BYTES : table_end])
        if table_end + body > len(data):
            return table_end + body - len(data)
        position = table_end + body
    return 0 if flags & OGG_END_OF_STREAM else 1


def _missing_in_mp3(data: bytes) -> int:
    """Compare the byte count of a Xing or Info header, where there is one, with the bytes that follow it."""
    start = _skip_id3(data)
    header = data[start : start + 200]  # the tag lies within the first frame's side information, 32 bytes at most
    for tag in (b"Xing", b"Info"):
        at = header.find(tag)
        if header[:1] == b"\xff" and at > 0 and start + at + 16 <= len(data):
            (flags,) = struct.unpack_from(">I", header, at + 4)
            if flags & 0x2:  # the byte count is present; it stands behind the frame count where that is present too
                offset = at + 8 + (4 if flags & 0x1 else 0)
                (stated,) = struct.unpack_from(">I", header, offset)
                return max(0, int(stated) - (len(data) - start))
    return 0


def _skip_id3(data: bytes) -> int:
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = 0
    for byte in data[6:10]:  # four bytes of seven bits each
        size = size << 7 | byte & 0x7F
    return 10 + size
