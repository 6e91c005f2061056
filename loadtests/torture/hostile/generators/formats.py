"""WebM, MP4 and HEIC that are cut, changed, lie about themselves or ask for more memory than they have bytes.

Whole ones are made by the packages of the extra; without it, their headers alone show that each is refused by name.
"""

import io
import random
import struct
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from typing import Final

import numpy as np

from loadtests.torture.hostile.exchange import Case
from loadtests.torture.hostile.generators.order import endless
from loadtests.torture.hostile.wire import Material, form

RATE_HZ: Final = 48_000
SIDE_PX: Final = 640
MANY: Final = 1 << 27  # samples that a header states
AWAY: Final = b"file:///etc/passwd\0"
HEADS: Final = {"webm": b"\x1a\x45\xdf\xa3", "mp4": b"\0\0\0\x18ftypM4A ", "heic": b"\0\0\0\x18ftypheic"}
CODECS: Final = {"webm": ("webm", "libopus"), "mp4": ("mp4", "aac")}
MODELS: Final = {"webm": "voice", "mp4": "voice", "heic": "face"}


@cache
def _whole(kind: str) -> bytes:
    if kind == "heic":
        return HEADS[kind] + bytes(200) if find_spec("pillow_heif") is None else _picture(SIDE_PX, SIDE_PX)
    return HEADS[kind] + bytes(200) if find_spec("av") is None else _clip(*CODECS[kind], seconds=3.0)


def _clip(container: str, codec: str, seconds: float) -> bytes:
    import av  # only where the extra is installed

    noise = np.random.default_rng(1).normal(0, 0.1, (1, round(RATE_HZ * seconds))).astype(np.float32)
    whole = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
    whole.sample_rate = RATE_HZ
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=RATE_HZ, layout="mono")
        taken = stream.codec_context.codec.audio_formats[0].name
        resampler = av.AudioResampler(taken, "mono", RATE_HZ, stream.codec_context.frame_size)
        for frame in [*resampler.resample(whole), *resampler.resample(None)]:
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def _picture(width: int, height: int) -> bytes:
    import pillow_heif  # only where the extra is installed

    file = io.BytesIO()
    rows = np.random.default_rng(1).integers(0, 256, (height // 8, width // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    pillow_heif.from_bytes("RGB", (width, height), rows.tobytes()).save(file, quality=50)
    return file.getvalue()


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(12, len(data))]


def _changed(data: bytes, rng: random.Random) -> bytes:
    """A few bytes, mostly in one half of what stands at either end, where the headers are."""
    changed = bytearray(data)
    edge = min(len(data), 4_000)
    for _ in range(rng.choice((1, 2, 8, 64))):
        at = rng.choice((rng.randrange(12, edge), rng.randrange(max(12, len(data) - edge), len(data))))
        changed[at] = rng.randrange(256)
    return bytes(changed)


def _grown(data: bytes, rng: random.Random) -> bytes:
    """A part of it again and again."""
    at = rng.randrange(12, len(data))
    return data[:at] + data[max(0, at - rng.randrange(8, 400)) : at] * rng.randrange(100, 5_000) + data[at:]


def _stating(name: bytes, offset: int) -> Callable[[bytes, random.Random], bytes]:
    """A change that puts a large number behind a box's name, where there is such a box."""

    def change(data: bytes, rng: random.Random) -> bytes:
        at = data.find(name) + len(name) + offset
        large = struct.pack(">I", rng.choice((MANY, 0x7FFFFFFF, 0xFFFFFFFF, 100_000, 20_000)))
        return data if data.find(name) < 0 else data[:at] + large + data[at + 4 :]

    return change


def _with_box(name: bytes, content: bytes) -> Callable[[bytes, random.Random], bytes]:
    """A change that puts a box into the header, behind the first of its kind of place."""

    def change(data: bytes, _rng: random.Random) -> bytes:
        at = max(data.find(b"moov"), data.find(b"meta"))
        box = struct.pack(">I4s", 8 + len(content), name) + content
        if at < 4:
            return data + box
        size = int.from_bytes(data[at - 4 : at], "big") + len(box)
        return data[: at - 4] + struct.pack(">I", size & 0xFFFFFFFF) + data[at : at + 4] + box + data[at + 4 :]

    return change


CHANGES: Final[dict[str, tuple[tuple[str, ...], Callable[[bytes, random.Random], bytes]]]] = {
    "whole": (tuple(HEADS), lambda data, _rng: data),
    "cut": (tuple(HEADS), _cut),
    "changed": (tuple(HEADS), _changed),
    "grown": (tuple(HEADS), _grown),
    "nothing behind the header": (tuple(HEADS), lambda data, rng: data[:12] + rng.randbytes(2_000)),
    "samples of one size": (("mp4",), _stating(b"stsz", 8)),
    "one size of all samples": (("mp4",), _stating(b"stsz", 4)),
    "large groups of samples": (("mp4",), _stating(b"stsc", 12)),
    "many chunks": (("mp4",), _stating(b"stco", 4)),
    "durations": (("mp4",), _stating(b"stts", 8)),
    "a fragment of many": (("mp4",), _with_box(b"trun", struct.pack(">II", 0, MANY))),
    "a deflated header": (("mp4",), _with_box(b"cmov", bytes(24))),
    "samples elsewhere": (("mp4",), _with_box(b"dref", struct.pack(">II", 0, 1) + b"\0\0\0\x20url \0\0\0\0" + AWAY)),
    "a wide picture": (("heic",), _stating(b"ispe", 4)),
    "a high picture": (("heic",), _stating(b"ispe", 8)),
    "many places": (("heic",), _stating(b"iloc", 4)),
}


def broken_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """Each change to each container that it fits, to the call that embeds it."""
    for name in endless(tuple(CHANGES), rng):
        kinds, change = CHANGES[name]
        for kind in kinds:
            fields: dict[str, str | bytes] = {"model": MODELS[kind], "file": change(_whole(kind), rng)}
            yield Case(f"{kind}: {name}", (form("/v1/embed", fields, material.authorization),))
