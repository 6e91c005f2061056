"""JSON bodies: values of every wrong type, bytes that are no JSON, and parts without number."""

import base64
import json
import random
from collections.abc import Iterator
from typing import Final

from loadtests.torture.hostile.exchange import Case
from loadtests.torture.hostile.generators.order import endless
from loadtests.torture.hostile.wire import Material, head

TARGET: Final = "/v1/embed"
VALUES: Final = (
    *("null", "true", "0", "-1", "1e400", "-0.0", "9" * 5000, "NaN", "-Infinity", '""', '"\\ud800"', '"\\u0000"'),
    *("{}", "[]", "[[]]", '{"a":{"a":1}}', '["AA=="]', '"AA="', '"A A="', '"data:,x"', '"data:a/b;base64,%41"'),
    '"' + "data:" * 20_000 + '"',
)
BODIES: Final = (
    *(b"", b"null", b"[]", b"{}", b'"x"', b"{} {}", b"{", b'{"model"', b"\xef\xbb\xbf{}", b'{"\xff":1}', b"\x00" * 100),
    *("{}".encode(codec) for codec in ("utf-16", "utf-32", "utf-7")),
    b'{"file":' + b"[" * 1_000_000,
    b'{"file":[' + b"[]," * 1_000_000,
    b'{"file":[' + b"1," * 1_000_000,
    b'{"file":[' + b'"",' * 1_000_000,
    b"{" + b'"a":0,' * 500_000,
    b'{"a":' * 500_000,
    b'"' + b'\\"' * 1_000_000,
    b"\\" * 2_000_000,
    b" " * 2_000_000,
)


def value_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """An honest body one of whose members has another value, comes twice, or is of no call."""
    sample = json.dumps(base64.b64encode(material.voice).decode())
    for value in endless(VALUES, rng):
        name = rng.choice(("model", "dim", "file", "encoding", "face", "stray"))
        honest = {"model": '"voice"', "dim": "16", "file": sample}
        if rng.random() < 0.8:  # or its name comes twice
            honest.pop(name, None)
        members = [f'"{member}":{text}' for member, text in (*honest.items(), (name, value))]
        rng.shuffle(members)
        yield _post(f"{name}: {value[:40]}", material, ("{" + ",".join(members) + "}").encode())


def body_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """What is no object that can be read."""
    for body in endless(BODIES, rng):
        yield _post(body[:40].decode("ascii", "backslashreplace"), material, body)


def _post(name: str, material: Material, body: bytes) -> Case:
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))} | material.authorization
    return Case(name, (head("POST", TARGET, headers) + body,))
