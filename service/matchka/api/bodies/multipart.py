"""Multipart bodies: read in memory, as the values of each name."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from matchka.api.bodies.fields import LONGEST_TEXT, Fields, require_few_files
from matchka.errors import (
    InvalidFieldError,
    MalformedFormError,
    shorten,
)

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MULTIPART: Final = "multipart/form-data"
MOST_TEXT_FIELDS: Final = 32  # a form of this interface has at most six
BOUNDARY: Final = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # RFC 2046, section 5.1.1


class MultipartReader:
    """Reads one multipart/form-data body.

    Args:
        content_type: the request's header.
        max_files: most files.

    Raises: MalformedFormError: the header names no boundary.
    """

    def __init__(self, content_type: str, max_files: int) -> None:
        self._parts = _Parts(max_files)
        self._parser = MultipartParser(_boundary_of(content_type), self._parts.callbacks)

    def write(self, chunk: bytes) -> None:
        """Take the next piece of the body.

        Raises:
            MalformedFormError: it cannot be read.
            TooManyFilesError: see require_few_files.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _malformed("Invalid multipart data.") from error

    def fields(self) -> Fields:
        """The values of each name, text as str and files as bytes.

        Raises:
            MalformedFormError: the body was cut short.
            InvalidFieldError: a name or a text is not UTF-8.
        """
        if not self._parts.are_complete:
            raise MalformedFormError("The form ends before its closing boundary.", remedy="Send the whole body.")
        return self._parts.fields()


@dataclass
class _Part:
    """One part of a form, while it arrives."""

    name: bytes = b""
    is_file: bool = False
    disposition: bytes = b""
    data: bytearray = field(default_factory=bytearray)


class _Parts:
    """Collects the parts of a form from the parser's calls, in memory: samples of people do not belong in a folder."""

    def __init__(self, max_files: int) -> None:
        self._max_files = max_files
        self._parts: list[_Part] = []
        self._header = bytearray()
        self._value = bytearray()
        self.are_complete = False  # the closing boundary was there, which a form that was cut short does not have

    @property
    def callbacks(self) -> "MultipartCallbacks":
        """What the parser calls."""
        return {
            "on_part_begin": lambda: self._parts.append(_Part()),
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_data,
            "on_end": self._end,
        }

    def fields(self) -> Fields:
        """The values of each name, in their order.

        Raises: InvalidFieldError: a name or a text is not UTF-8.
        """
        fields: Fields = {}
        for part in self._parts:
            name = _text_of("A field's name", part.name)
            value = bytes(part.data)
            part.data.clear()
            given = value if part.is_file else _text_of(f"The field {shorten(name)}", value)
            fields.setdefault(name, []).append(given)
        return fields

    def _end_header(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            self._parts[-1].disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _end_headers(self) -> None:
        part = self._parts[-1]
        _, options = parse_options_header(part.disposition)
        if b"name" not in options:
            raise _malformed('The Content-Disposition header field "name" must be provided.')
        part.name, part.is_file = options[b"name"], b"filename" in options
        files = sum(part.is_file for part in self._parts)
        require_few_files(files, self._max_files)
        if len(self._parts) - files > MOST_TEXT_FIELDS:
            raise _malformed(f"Too many fields. Maximum number of fields is {MOST_TEXT_FIELDS}.")

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        part = self._parts[-1]
        part.data += data[start:end]
        if not part.is_file and len(part.data) > LONGEST_TEXT:
            raise _malformed(f"Part exceeded maximum size of {LONGEST_TEXT >> 10}KB.")

    def _end(self) -> None:
        self.are_complete = True


def _malformed(problem: str) -> MalformedFormError:
    return MalformedFormError(
        "The form cannot be read.", value=problem, remedy="Let an HTTP library build the multipart body."
    )


def _boundary_of(content_type: str) -> bytes:
    """The boundary that the header names; nothing else of it is of use.

    Raises: MalformedFormError: there is none.
    """
    _, parameters = parse_options_header(content_type)
    boundary = parameters.get(b"boundary", b"")
    if not BOUNDARY.fullmatch(boundary):
        raise MalformedFormError(
            "The Content-Type has no boundary of 1 to 70 characters that RFC 2046 allows.",
            value=content_type,
            remedy="Let an HTTP library build the multipart body.",
        )
    return boundary


def _text_of(part: str, data: bytes) -> str:
    """A form's text, which is UTF-8 whatever its headers say.

    Raises: InvalidFieldError: it is not; the error says of which part of the form.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidFieldError(
            f"{part} is not UTF-8.",
            value=data.decode("latin-1"),
            remedy="Encode names and values as UTF-8; a charset in a header is ignored.",
        ) from error
