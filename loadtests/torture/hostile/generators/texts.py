"""Texts that no id, cursor or name may be: NUL, controls, halves of surrogates, overlong, markup, paths."""

import base64
import random
import unicodedata
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote_from_bytes

from loadtests.torture.hostile.exchange import Case
from loadtests.torture.hostile.generators.order import endless
from loadtests.torture.hostile.wire import Material, Part, form, get, head, raw_form

CONTENT_TYPE: Final = b"multipart/form-data; boundary=x"
TEXTS: Final = (
    b"\x00",
    b"ada\x00",
    b"ada\x00bob",
    b"\x01\x02\x1b[2J\x7f",
    b"ada\r\nX-Injected: 1",
    b"ada\tbob",
    b"\xed\xa0\x80",  # half of a surrogate pair
    b"\xed\xa0\xbd\xed\xb8\x80",  # both halves, each encoded alone
    b"\xc0\x80",  # NUL in two bytes
    b"\xff\xfe\x80",
    b"\xf4\x90\x80\x80",  # beyond the last code point
    "\u202eada".encode(),
    "\u200b".encode(),
    "\ufdd0\U0010ffff".encode(),
    "a\u0301".encode() + "\u0301".encode() * 3000,
    b"x" * 257,
    b"x" * 40_000,
    b"../../../etc/passwd",
    b"..",
    b"' OR 1=1 --",
    b"{{7*7}}${7*7}<script>",
    b"%00%2500",
    b"ada bob",
)


def subject_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """As the subject of an enrolment, a verification, a challenge, a lookup and a deletion."""
    for text in endless(TEXTS, rng):
        parts: list[Part] = [
            (b'Content-Disposition: form-data; name="model"', b"voice"),
            (b'Content-Disposition: form-data; name="subject_id"', text),
            (b'Content-Disposition: form-data; name="file"; filename="sample"', material.voice),
        ]
        for call in ("enroll", "verify"):
            request = raw_form(f"/v1/{call}", parts, CONTENT_TYPE, material.authorization)
            yield Case(f"{call} {_shown(text)}", (request,))
        asked = raw_form("/v1/challenges", parts[1:2], CONTENT_TYPE, material.authorization)
        yield Case(f"challenges {_shown(text)}", (asked,))
        for method in ("GET", "DELETE"):
            yield _addressed(method, "/v1/subjects/", text, material)


def template_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """As a template that is to be deleted."""
    for text in endless(TEXTS, rng):
        yield _addressed("DELETE", "/v1/templates/", text, material)


def query_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """As a cursor, bare and as what a cursor encodes, as a limit, and as a parameter that is not there."""
    for text in endless(TEXTS, rng):
        coded = base64.urlsafe_b64encode(text).decode()
        for query in (
            f"cursor={_quoted(text, '+%')}",
            f"limit={_quoted(text)}",
            f"{_quoted(text)}=1",
            *([f"cursor={coded}"] if _has_controls(text) else []),
        ):
            yield Case(f"GET ?{query[:60]}", (get(f"/v1/subjects?{query}", material.authorization),))


def field_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """As the name of a model, a dim, a rate, an encoding, and as the name of a field."""
    for text in endless(TEXTS, rng):
        value = text.decode("latin-1")
        for name in ("model", "dim", "encoding", "face"):
            fields = {"model": "voice", "file": material.voice} | {name: value}
            yield Case(f"{name}={_shown(text)}", (form("/v1/embed", fields, material.authorization),))
        parts: list[Part] = [(b'Content-Disposition: form-data; name="%b"' % text.replace(b"\r\n", b""), b"1")]
        yield Case(f"a field {_shown(text)}", (raw_form("/v1/embed", parts, CONTENT_TYPE, material.authorization),))


def _addressed(method: str, folder: str, text: bytes, material: Material) -> Case:
    target = folder + _quoted(text)
    return Case(f"{method} {target[:60]}", (head(method, target, material.authorization),))


def _has_controls(text: bytes) -> bool:
    """Whether no cursor may hold it; other texts may stand for a place between two subjects."""
    try:
        return any(unicodedata.category(character) == "Cc" for character in text.decode())
    except UnicodeDecodeError:
        return True


def _quoted(text: bytes, safe: str = "") -> str:
    # a path's own `..` is not a name, so its dots are sent as such only where they cannot be taken for one
    return quote_from_bytes(text, safe).replace("..", "%2e%2e")


def _shown(text: bytes) -> str:
    return text[:60].decode("ascii", "backslashreplace")
