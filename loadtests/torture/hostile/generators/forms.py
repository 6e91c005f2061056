"""Tricks in the headers of a form and of its parts: charsets, names of RFC 2231, quoting that is not closed."""

import encodings.aliases
import random
from collections.abc import Iterator
from typing import Final

from loadtests.torture.hostile.exchange import Case
from loadtests.torture.hostile.generators.order import endless
from loadtests.torture.hostile.wire import BOUNDARY, Material, Part, embed_parts, raw_form

TARGET: Final = "/v1/embed"
# Names that no codec has, that mean two things, or that are no names at all.
NO_CODECS: Final = ("", "x" * 4000, "utf-8;utf-16", "*", "..", "../../etc/passwd", "mbcs", "oem", "%00", "é")
CHARSETS: Final = (
    *("undefined", "punycode", "idna", "utf-7", "utf-16", "utf-32", "rot13", "zip", "hex", "bz2", "base64", "quopri"),
    *("uu", "unicode_escape", "raw_unicode_escape", "string_escape", "charmap", "utf-8-sig", "mbcs", "cp65001"),
    *sorted(set(encodings.aliases.aliases.values()) | set(encodings.aliases.aliases)),
    *NO_CODECS,
)
HEADERS: Final = (
    b'multipart/form-data; boundary="x',
    b'multipart/form-data; boundary="x"; charset="utf-16',
    b"multipart/form-data; boundary=x; boundary=y",
    b"multipart/form-data; boundary=y; boundary=x",
    b"multipart/form-data; boundary*=utf-7''x",
    b"multipart/form-data; boundary*0=x; boundary*1=y",
    b"multipart/form-data; boundary=%b" % (b"x" * 5000),
    b"multipart/form-data; boundary=",
    b"multipart/form-data; boundary=\xff\xfe",
    b"multipart/form-data; boundary=\\x",
    b'multipart/form-data; boundary="\\"x\\""',
    b"multipart/form-data; boundary = x",
    b"multipart/form-data;;;boundary=x",
    b"multipart/form-data; boundary=x; charset",
    b"multipart/form-data, multipart/form-data; boundary=x",
    b"Multipart/Form-Data; BOUNDARY=x; CHARSET=UTF-16",
    b"multipart/mixed; boundary=x",
    b"multipart/form-data; boundary=x; charset=utf-8\x00",
    b"multipart/form-data" + b"; a=b" * 2000 + b"; boundary=x",
)
# A part's head in place of that of the field `model`.
PART_HEADS: Final = (
    b"Content-Disposition: form-data; name*=utf-8''model",
    b"Content-Disposition: form-data; name*=utf-7''+AG0-odel",
    b"Content-Disposition: form-data; name*=undefined''model",
    b"Content-Disposition: form-data; name*=idna''%ff%fe",
    b"Content-Disposition: form-data; name*0=mo; name*1=del",
    b"Content-Disposition: form-data; name*0*=utf-16''%00m; name*1=odel",
    b"Content-Disposition: form-data; name*=''",
    b"Content-Disposition: form-data; name*=%",
    b'Content-Disposition: form-data; name="model',
    b'Content-Disposition: form-data; name="mo\\"del"',
    b'Content-Disposition: form-data; name="model\\',
    b"Content-Disposition: form-data; name=model; name=file",
    b"Content-Disposition: form-data; name=\xff\xfe",
    b"Content-Disposition: form-data; name=\xed\xa0\x80",
    b"Content-Disposition: form-data",
    b"Content-Disposition: attachment; name=model",
    b"Content-Disposition",
    b": form-data; name=model",
    b"X-Nothing: 1",
    b"",
    b'Content-Disposition: form-data; name="model"\r\nContent-Disposition: form-data; name="dim"',
    b'Content-Disposition: form-data; name="model"\r\nContent-Type: text/plain; charset=utf-16',
    b'Content-Disposition: form-data; name="model"\r\nContent-Type: text/plain; charset=undefined',
    b'Content-Disposition: form-data; name="model"\r\nContent-Type: multipart/mixed; boundary=x',
    b'Content-Disposition: form-data; name="model"\r\nContent-Transfer-Encoding: base64',
    b'Content-Disposition: form-data; name="model"\r\n folded: 1',
    b'Content-Disposition: form-data; name="model"\r\nX-Long: ' + b"x" * 60_000,
    b'Content-Disposition: form-data; name="model"' + b"\r\nX: 1" * 5000,
    b"Content-Disposition: form-data; name=\"model\"; filename*=utf-8''%00%ff",
    b'Content-Disposition: form-data; name="_charset_"',
)


def charset_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """An honest form that announces each charset that Python knows, and some that nobody does."""
    for charset in endless(CHARSETS, rng):
        quote = rng.choice(("", '"'))
        content_type = f"multipart/form-data; boundary={BOUNDARY}; charset={quote}{charset}{quote}"
        yield _embed(f"charset={charset[:40]}", material, embed_parts(material.voice), content_type.encode())


def header_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """An honest form behind a content type that is broken, doubled or overlong."""
    for content_type in endless(HEADERS, rng):
        yield _embed(_shown(content_type), material, embed_parts(material.voice), content_type)


def part_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """A form one of whose parts has a strange head."""
    for part_head in endless(PART_HEADS, rng):
        parts: list[Part] = [(part_head, b"voice"), *embed_parts(material.voice)[1:]]
        yield _embed(_shown(part_head), material, parts, f"multipart/form-data; boundary={BOUNDARY}".encode())


def _embed(name: str, material: Material, parts: list[Part], content_type: bytes) -> Case:
    return Case(name, (raw_form(TARGET, parts, content_type, material.authorization),))


def _shown(octets: bytes) -> str:
    return octets[:100].decode("ascii", "backslashreplace")
