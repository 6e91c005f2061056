"""What a clip is likely to cost, by what its container says of its length."""

from typing import Final

CLIP_S: Final = 0.005  # of one core, measured on clips of 1 to 60 s: docs/decisions/150
PER_SECOND_S: Final = 0.006
MOST_S: Final = 600.0  # whatever a header states: sums of larger numbers would lose the small ones
MP3_BYTES_PER_S: Final = 8_000  # 64 kbit/s; a Xing header would have to be looked for
OPUS_RATE_HZ: Final = 48_000  # of its granules, whatever was recorded
VORBIS: Final = b"\x01vorbis"
FLAC_INFO_BYTES: Final = 26  # as far as the number of samples


def cost_s(data: bytes) -> float:
    """Seconds of one core that reading and embedding a clip are likely to take.

    >>> wav = b"RIFF" + bytes(24) + (32_000).to_bytes(4, "little")
    >>> round(cost_s(wav + bytes(320_000)), 3)
    0.065
    """
    return CLIP_S + PER_SECOND_S * min(stated_s(data), MOST_S)


def stated_s(data: bytes) -> float:
    """How long a clip lasts by its container's own account, or by the bytes of a usual one; any bytes may be given.

    FLAC: RFC 9639, 8.2. Ogg: RFC 3533, 6, whose last page has the number of its last sample.
    """
    if data[:4] == b"RIFF" and len(data) >= 32:
        return len(data) / max(int.from_bytes(data[28:32], "little"), 1)
    if data[:4] == b"fLaC" and len(data) >= FLAC_INFO_BYTES:
        rate_hz = int.from_bytes(data[18:21], "big") >> 4
        samples = int.from_bytes(data[21:26], "big") & (1 << 36) - 1
        return samples / max(rate_hz, 1)
    last = data.rfind(b"OggS")
    if data[:4] == b"OggS" and len(data) >= last + 14:
        head = data.find(VORBIS, 0, 256)
        rate_hz = int.from_bytes(data[head + 12 : head + 16], "little") if head > 0 else OPUS_RATE_HZ
        return int.from_bytes(data[last + 6 : last + 14], "little") / max(rate_hz, 1)
    return len(data) / MP3_BYTES_PER_S
