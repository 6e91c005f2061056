"""Multipart bodies over real HTTP: whatever the headers say, a field's text is UTF-8 and no answer is a failure."""

import http.client
import json
from encodings.aliases import aliases
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.factories.samples import sample
from tests.factories.small_server import SmallServer

# What Python can look up under a name and no form may be written in, beside the encodings of text.
CHARSETS = sorted({*aliases.values(), "undefined", "punycode", "idna", "unicode_escape", "mbcs", "", "no such", "ß"})
TYPE = "multipart/form-data; boundary=x"


def form(*parts: bytes, boundary: bytes = b"x") -> bytes:
    """A form of parts, each its head and its value."""
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"


def text(name: bytes, value: bytes, more: bytes = b"") -> bytes:
    return b'Content-Disposition: form-data; name="' + name + b'"' + more + b"\r\n\r\n" + value


def file(data: bytes) -> bytes:
    return b'Content-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + data


def post(server: SmallServer, content_type: str, body: bytes) -> tuple[int, dict[str, Any]]:
    """Post to /v1/embed, the header as it is: most clients would not send such."""
    host, port = server.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    try:
        connection.putrequest("POST", "/v1/embed")
        connection.putheader("Content-Type", content_type.encode("latin-1"))
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        if answer.status >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize("charset", CHARSETS)
@pytest.mark.parametrize("place", ["header", "part"])
def test_form_with_any_charset_is_read_as_utf_8(small_server: SmallServer, charset: str, place: str):
    more = f"\r\nContent-Type: text/plain; charset={charset}".encode("latin-1") if place == "part" else b""
    content_type = f"{TYPE}; charset={charset}" if place == "header" else TYPE
    body = form(text(b"model", "fäce".encode(), more), file(b"anything"))
    status, problem = post(small_server, content_type, body)
    assert (status, problem["code"], problem["value"]) == (404, "unknown_model", "fäce")


def test_form_with_a_charset_that_cannot_decode_is_answered_like_any_other(small_server: SmallServer):
    body = form(text(b"model", b"voice"), file(sample(1)))
    without, answer = post(small_server, TYPE, body)
    assert without == 200
    assert post(small_server, f"{TYPE}; charset=undefined", body) == (200, answer)


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (text(b"model", b"\xff"), "The field model is not UTF-8."),
        (text(b"model", "fäce".encode("latin-1")), "The field model is not UTF-8."),
        (text(b"model", b"\xed\xa0\x80"), "The field model is not UTF-8."),  # half a surrogate pair
        (text(b"m\xe4", b"voice"), "A field's name is not UTF-8."),
    ],
)
def test_form_with_text_that_is_not_utf_8_is_refused(small_server: SmallServer, part: bytes, says: str):
    status, problem = post(small_server, f"{TYPE}; charset=latin-1", form(part, file(b"anything")))
    assert (status, problem["code"], problem["detail"]) == (422, "invalid_field", says)


@pytest.mark.parametrize("boundary", ["x" * 70, "'()+_,-./:=?", "a b"])
def test_form_with_any_boundary_of_rfc_2046_is_read(small_server: SmallServer, boundary: str):
    body = form(text(b"model", b"nobody"), file(b"anything"), boundary=boundary.encode())
    status, problem = post(small_server, f'multipart/form-data; boundary="{boundary}"', body)
    assert (status, problem["code"]) == (404, "unknown_model")


@pytest.mark.parametrize(
    "parameters",
    [
        "",
        "; boundary=",
        '; boundary=""',
        "; boundary=" + "x" * 71,
        '; boundary="x',
        '; boundary=x"',
        '; boundary="x\\"',
        '; boundary="a "',
        "; boundary=ä",
        "; boundary*=utf-8''x",
        "; boundary*0=x",
        '; charset=undefined; boundary="x',
    ],
)
def test_form_without_a_boundary_that_rfc_2046_allows_is_refused(small_server: SmallServer, parameters: str):
    body = form(text(b"model", b"voice"), file(b"anything"))
    status, problem = post(small_server, f"multipart/form-data{parameters}", body)
    assert (status, problem["code"]) == (400, "malformed_form")


@pytest.mark.parametrize("name", [b"name*=utf-8''model", b"name*0=model", b'filename="f"', b""])
def test_part_without_a_plain_name_is_refused(small_server: SmallServer, name: bytes):
    part = b"Content-Disposition: form-data; " + name + b"\r\n\r\nvoice"
    status, problem = post(small_server, TYPE, form(part, file(b"anything")))
    assert (status, problem["code"]) == (400, "malformed_form")


# Pieces that mean something to one of the readers on the way, in any order, and characters of any other kind.
PIECES = (
    *("; ", ";", "=", '"', "\\", "\\\\", "*", "*0*", "*=utf-8''", "'", "%00", "%ff", ",", " ", "\t", "é", "\xff"),
    *("boundary=x", 'boundary="x"', "boundary=", "charset=", "charset=undefined", "charset=punycode"),
    *("name=", 'name="model"', "name*=", "filename=", 'filename="f"', 'filename="\\\\x\\y', 'charset="utf-16'),
)
SPICED = st.lists(st.sampled_from(PIECES) | st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=5))
HEADER = SPICED.map("".join).map(lambda text: text.replace("\x7f", ""))


@settings(max_examples=400)
@given(parameters=HEADER, body_boundary=st.sampled_from([b"x", b'"x"', b""]))
@example(parameters="; boundary=x; charset=undefined", body_boundary=b"x")
def test_form_with_any_header_is_never_a_failure(small_server: SmallServer, parameters: str, body_boundary: bytes):
    body = form(text(b"model", b"voice"), file(b"anything"), boundary=body_boundary)
    status, problem = post(small_server, f"multipart/form-data;{parameters}", body)
    assert 400 <= status < 500, problem


@settings(max_examples=400)
@given(
    disposition=HEADER,
    more=st.lists(st.binary(max_size=20) | HEADER.map(lambda text: text.encode("latin-1")), max_size=3),
    value=st.binary(max_size=20),
    charset=st.sampled_from(CHARSETS),
)
def test_part_with_any_head_is_never_a_failure(
    small_server: SmallServer, disposition: str, more: list[bytes], value: bytes, charset: str
):
    head = b"Content-Disposition: form-data;" + disposition.encode("latin-1")
    body = form(b"\r\n".join([head, *more]) + b"\r\n\r\n" + value, text(b"model", b"nobody"), file(b"anything"))
    status, problem = post(small_server, f"{TYPE}; charset={charset}", body)
    assert 400 <= status < 500, problem
