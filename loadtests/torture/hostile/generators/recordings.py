"""Radio recordings whose headers lie, whose archives lead outwards, and in which nothing was received."""

import io
import json
import random
import struct
import tarfile
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from loadtests.torture.hostile.exchange import Case
from loadtests.torture.hostile.generators.order import endless
from loadtests.torture.hostile.wire import Material, form

SAMPLES: Final = 512
CALLS: Final = ("classify", "embed")


def _noise(rng: random.Random) -> bytes:
    """cf32 of noise."""
    return np.random.default_rng(rng.getrandbits(32)).normal(0, 0.1, 2 * SAMPLES).astype("<f4").tobytes()


def _npy(shape: str, data: bytes, descr: str = "<c8") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def _entry(name: str, data: bytes, kind: bytes = tarfile.REGTYPE, size: int | None = None) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, len(data) if size is None else size, "/etc/passwd"
    return member.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


def _archive(data: bytes, **described: object) -> bytes:
    entries = {"core:datatype": "cf32_le", **{f"core:{key}": value for key, value in described.items()}}
    return _described(json.dumps({"global": entries}).encode(), data)


def _described(meta: bytes, data: bytes) -> bytes:
    return _entry("t.sigmf-meta", meta) + _entry("t.sigmf-data", data) + bytes(1024)


def _wav(data: bytes, length: int) -> bytes:
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36, b"WAVE", b"fmt ", 16, 3, 2, 1000, 8000, 8, 32)
    return head + b"data" + struct.pack("<I", length) + data


def _numpy_object(_rng: random.Random) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([print] * SAMPLES, dtype=object), allow_pickle=True)
    return buffer.getvalue()


LIES: Final[dict[str, tuple[str | None, Callable[[random.Random], bytes]]]] = {
    "npy of gigabytes": (None, lambda rng: _npy(f"({rng.randrange(1 << 30, 1 << 60)},)", _noise(rng))),
    "npy of more than there is": (None, lambda rng: _npy(f"({SAMPLES + 1},)", _noise(rng))),
    "npy of less than there is": (None, lambda rng: _npy(f"({SAMPLES - 1},)", _noise(rng))),
    "npy of a negative shape": (None, lambda rng: _npy("(-512,)", _noise(rng))),
    "npy of a number that is hardly printed": (None, lambda rng: _npy(f"(0x{'f' * rng.randrange(99, 3900)},)", b"")),
    "npy of a sum beyond floats": (None, lambda rng: _npy(f"({'9' * 400}+1.j,)", _noise(rng))),
    "npy of a call": (None, lambda rng: _npy("(__import__('os').getpid(),)", _noise(rng))),
    "npy of brackets": (None, lambda rng: _npy("(" * rng.randrange(1, 4000), _noise(rng))),
    "npy of another type": (None, lambda rng: _npy("(4096,)", _noise(rng), "|u1")),
    "pickle": (None, _numpy_object),
    "odd length": ("cf32", lambda rng: _noise(rng)[: -rng.randrange(1, 8)]),
    "swapped bytes": ("cf32", lambda rng: np.frombuffer(_noise(rng), "<f4").byteswap().tobytes()),
    "nothing named": (None, _noise),
    "WAV of gigabytes": (None, lambda rng: _wav(_noise(rng), rng.randrange(1 << 20, 1 << 32))),
    "archive with a path outwards": (None, lambda rng: _entry("../t.sigmf-data", _noise(rng)) + bytes(1024)),
    "archive with an absolute path": (None, lambda rng: _entry("/t.sigmf-data", _noise(rng)) + bytes(1024)),
    "archive with a link": (None, lambda _rng: _entry("t.sigmf-data", b"", tarfile.SYMTYPE) + bytes(1024)),
    "archive of gigabytes": (None, lambda rng: _entry("t", b"", size=rng.randrange(1 << 28, 1 << 33)) + bytes(1024)),
    "archive with a wrong sha512": (None, lambda rng: _archive(_noise(rng), sha512="0" * 128)),
    "archive of an unknown type": (None, lambda rng: _archive(_noise(rng), datatype="cf16_le")),
    "archive of metadata of brackets": (None, lambda rng: _described(b"[" * rng.randrange(1, 1 << 20), _noise(rng))),
    "archive of a name twice": (None, lambda rng: _described(b'{"global": {}, "global": {}}', _noise(rng))),
    "archive of a long number": (None, lambda rng: _described(b'{"global": ' + b"9" * 100_000 + b"}", _noise(rng))),
    "archive with an extended header that renames": (
        None,
        lambda rng: _entry("x", b"17 path=../../ab\n", tarfile.XHDTYPE) + _archive(_noise(rng)),
    ),
    "archive with an extended header of another size": (
        None,
        lambda rng: _entry("x", b"19 size=9999999999\n", tarfile.XHDTYPE) + _archive(_noise(rng)),
    ),
    "archive of two frequencies": (
        None,
        lambda rng: _described(
            b'{"global": {"core:datatype": "cf32_le"}, "captures": [{"core:frequency": 1}, {"core:frequency": 2}]}',
            _noise(rng),
        ),
    ),
    "zeros": ("ci16", lambda _rng: bytes(4 * SAMPLES)),
    "a constant": ("cf32", lambda rng: struct.pack("<ff", rng.uniform(-1, 1), 0.5) * SAMPLES),
    "NaN": ("cf32", lambda rng: struct.pack("<f", float("nan")) * 2 + _noise(rng)),
    "too few": ("cf32", lambda rng: _noise(rng)[: 8 * rng.randrange(1, 128)]),
    "clipped": ("ci16", lambda rng: (np.sign(np.frombuffer(_noise(rng), "<f4")) * 32767).astype("<i2").tobytes()),
}


def lying_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """Each lie to calls that read a recording."""
    for name in endless(tuple(LIES), rng):
        sample_format, make = LIES[name]
        fields: dict[str, str | bytes] = {"model": "radio", "file": make(rng)}
        if sample_format:
            fields["sample_format"] = sample_format
        yield Case(name, (form(f"/v1/{rng.choice(CALLS)}", fields, material.authorization),))
