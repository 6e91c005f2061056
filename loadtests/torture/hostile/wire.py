"""Requests as bytes: well-formed ones to start from, and what the hostile ones are made of."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from urllib3.filepost import encode_multipart_formdata

from loadtests.server import HOST

BOUNDARY = "x"  # of raw forms
FORM_BOUNDARY = "7d3c5b1e0f9a4826"  # always the same, so that a seed makes the same bytes
Part = tuple[bytes, bytes]  # the head of a form's part, without its blank line, and its content


@dataclass(frozen=True)
class Material:
    """What hostile requests borrow from honest ones.

    Attributes:
        key: in force on the server with a key.
        voice, picture: what the subjects VOICE_SUBJECT and FACE_SUBJECT are enrolled with.
    """

    key: str
    voice: bytes
    picture: bytes

    @property
    def authorization(self) -> dict[str, str]:
        """The header that opens the server."""
        return {"Authorization": f"Bearer {self.key}"}


VOICE_SUBJECT = "honest-voice"
FACE_SUBJECT = "honest-face"


def head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """The head of a request, with a Host unless `headers` have their own; texts go out as Latin-1 or UTF-8."""
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in ({"Host": HOST} | dict(headers)).items()]
    return _octets("\r\n".join(lines) + "\r\n\r\n")


def get(target: str, headers: Mapping[str, str]) -> bytes:
    """A whole GET."""
    return head("GET", target, headers)


def form(target: str, fields: Mapping[str, str | bytes], headers: Mapping[str, str]) -> bytes:
    """A whole POST of a multipart form; values of bytes are files, and `name#2` is another value of `name`."""
    parts = [
        (name.partition("#")[0], ("sample", value) if isinstance(value, bytes) else value)
        for name, value in fields.items()
    ]
    body, content_type = encode_multipart_formdata(parts, FORM_BOUNDARY)
    return head("POST", target, {"Content-Type": content_type, "Content-Length": str(len(body))} | headers) + body


def raw_form(target: str, parts: list[Part], content_type: bytes, headers: Mapping[str, str]) -> bytes:
    """A POST whose content type and part heads are sent as given; the boundary is BOUNDARY."""
    line = b"--" + BOUNDARY.encode()
    body = b"".join(line + b"\r\n" + part_head + b"\r\n\r\n" + content + b"\r\n" for part_head, content in parts)
    body += line + b"--\r\n"
    start = head("POST", target, {"Content-Length": str(len(body))} | headers)[:-2]
    return start + b"Content-Type: " + content_type + b"\r\n\r\n" + body


def embed_parts(voice: bytes) -> list[Part]:
    """The parts of an honest request for the embedding of a clip."""
    return [
        (b'Content-Disposition: form-data; name="model"', b"voice"),
        (b'Content-Disposition: form-data; name="dim"', b"16"),
        (b'Content-Disposition: form-data; name="file"; filename="sample"', voice),
    ]


def any_source(rng: random.Random) -> str:
    """An address of this machine, of some 60,000."""
    return f"127.{rng.randint(1, 250)}.{rng.randint(0, 250)}.1"


def _octets(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
