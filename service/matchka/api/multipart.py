"""Multipart bodies: read in memory, as the values of each name."""

import asyncio
import re
from typing import Final

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from matchka.errors import (
    InvalidFieldError,
    MalformedFormError,
    TooManyFilesError,
    UnsupportedContentTypeError,
    UploadTimeoutError,
    shorten,
)
from matchka.settings import Settings

MULTIPART: Final = "multipart/form-data"
MOST_TEXT_FIELDS: Final = 32  # a form of this interface has at most six
BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # RFC 2046, section 5.1.1
BYTE_BY_BYTE: Final = "latin-1"  # each byte is one character, and back


async def read_multipart(request: Request) -> dict[str, list[str | bytes]]:
    """Read a request's multipart/form-data body: the values of each name, text as str and files as bytes.

    Raises:
        UnsupportedContentTypeError: the body is of another type.
        MalformedFormError: it cannot be read, or was cut short.
        InvalidFieldError: a name or a text is not UTF-8.
        TooManyFilesError: more files than MATCHKA_MAX_FILES.
        UploadTimeoutError: it did not arrive within MATCHKA_MAX_UPLOAD_S.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.split(";")[0].strip().lower() != MULTIPART:
        raise UnsupportedContentTypeError(
            f"The body must be {MULTIPART}.", value=content_type or "no content type", remedy="Send a form with files."
        )
    settings: Settings = request.app.state.settings
    max_files = settings.max_files
    headers = _without_charset(content_type)
    parser = _InMemoryParser(headers, request.stream(), max_files=max_files, max_fields=MOST_TEXT_FIELDS)
    try:
        async with asyncio.timeout(settings.max_upload_s):
            form = await parser.parse()
    except TimeoutError as error:
        raise UploadTimeoutError(
            f"The body did not arrive within {settings.max_upload_s:g} s.", remedy="Send it faster, or in parts."
        ) from error
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise TooManyFilesError(
                f"One request may carry at most {max_files} files.", remedy="Send the rest in another request."
            ) from error
        raise MalformedFormError(
            "The form cannot be read.", value=error.message, remedy="Let an HTTP library build the multipart body."
        ) from error
    if not parser.is_complete:
        parser.close_files()
        raise MalformedFormError("The form ends before its closing boundary.", remedy="Send the whole body.")
    return await _collect(form)


class _InMemoryParser(MultiPartParser):
    """Starlette's parser with files kept in memory: samples of people do not belong in a temporary folder."""

    spool_max_size = 1 << 40
    is_complete = False

    def on_end(self) -> None:
        """Called at the closing boundary, which a form that was cut short does not have."""
        self.is_complete = True

    def close_files(self) -> None:
        """Close what a form left open."""
        for file in self._files_to_close_on_error:
            file.close()


def _without_charset(content_type: str) -> Headers:
    """What the parser may know of the header: the boundary alone, and to hand over text byte by byte.

    The parser would take a charset from the header, and not every one that Python knows can decode a form's text.
    """
    _, parameters = parse_options_header(content_type)
    boundary = parameters.get(b"boundary", b"").decode(BYTE_BY_BYTE)
    if not BOUNDARY.fullmatch(boundary):
        raise MalformedFormError(
            "The Content-Type has no boundary of 1 to 70 characters that RFC 2046 allows.",
            value=content_type,
            remedy="Let an HTTP library build the multipart body.",
        )
    return Headers({"content-type": f'{MULTIPART}; boundary="{boundary}"; charset={BYTE_BY_BYTE}'})


def _text_of(part: str, bytewise: str) -> str:
    """Text that the parser handed over byte by byte; a form's text is UTF-8, whatever its headers say.

    Raises: InvalidFieldError: it is not; the error says of which part of the form.
    """
    try:
        return bytewise.encode(BYTE_BY_BYTE).decode()
    except UnicodeDecodeError as error:
        raise InvalidFieldError(
            f"{part} is not UTF-8.",
            value=bytewise,
            remedy="Encode names and values as UTF-8; a charset in a header is ignored.",
        ) from error


async def _collect(form: FormData) -> dict[str, list[str | bytes]]:
    fields: dict[str, list[str | bytes]] = {}
    try:
        for bytewise, value in form.multi_items():
            name = _text_of("A field's name", bytewise)
            if isinstance(value, UploadFile):
                fields.setdefault(name, []).append(await value.read())
            else:
                fields.setdefault(name, []).append(_text_of(f"The field {shorten(name)}", value))
    finally:
        await form.close()
    return fields
