"""WebM, which browsers record: EBML elements, by RFC 8794 and RFC 9559."""

from typing import Final

from matchka.modalities.audio.decoders.clip import truncated
from matchka.modalities.audio.decoders.ffmpeg import MATROSKA, decode
from matchka.vectors import FloatArray

EBML: Final = b"\x1a\x45\xdf\xa3"
SEGMENT, CLUSTER = 0x18538067, 0x1F43B675  # elements that are walked into; their length may be left open
# Far above a minute of the shortest Opus frames, 24,000 blocks; a file of more is read as it is.
MOST_ELEMENTS: Final = 1 << 16


def begins_like_webm(data: bytes) -> bool:
    """Whether a file begins like Matroska, of which WebM is a part."""
    return data.startswith(EBML)


def decode_webm(data: bytes, sample_rate_hz: int, max_duration_s: float) -> FloatArray:
    """See ffmpeg.decode. Raises: TruncatedFileError: an element goes on behind the end, or as said there."""
    missing = missing_in_webm(data)
    if missing:
        raise truncated(f"{missing} bytes are missing")
    return decode(data, MATROSKA, sample_rate_hz, max_duration_s)


def missing_in_webm(data: bytes) -> int:
    r"""How many bytes the last element lacks, a lower bound; 0 where all are whole or the file is no EBML.

    A recording of which nobody wrote down the length, as browsers make them, can still end between two blocks.

    >>> missing_in_webm(EBML + b"\x84" + bytes(3))
    1
    """
    position = 0
    for _ in range(MOST_ELEMENTS):
        if position >= len(data):
            break
        name, after_name = _number(data, position, keep_mark=True)
        length, content = _number(data, after_name, keep_mark=False)
        if content > len(data):
            return content - len(data)
        if not name:
            return 0  # no element begins so: the demuxer says what it makes of it
        is_open = length == (1 << 7 * (content - after_name)) - 1
        if not is_open and content + length > len(data):
            return content + length - len(data)
        if name in (SEGMENT, CLUSTER):
            position = content
        elif is_open:
            return 0
        else:
            position = content + length
    return 0


def _number(data: bytes, position: int, *, keep_mark: bool) -> tuple[int, int]:
    """A number of variable length, and where it ends, maybe behind the data; (0, end) where none begins so."""
    first = data[position] if position < len(data) else 0x80
    width = 9 - first.bit_length()
    end = position + width
    value = int.from_bytes(data[position:end], "big")
    return (value if keep_mark else value & ~(1 << 7 * width)) if width < 9 else 0, end
