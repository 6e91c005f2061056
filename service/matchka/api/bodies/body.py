"""A request's body, read in time by the reader of its content type."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from starlette.requests import Request

from matchka.api.bodies.fields import FieldKind, Fields
from matchka.api.bodies.json_object import JSON, JsonReader
from matchka.api.bodies.multipart import MULTIPART, MultipartReader
from matchka.errors import UnsupportedContentTypeError, UploadTimeoutError
from matchka.settings import Settings


class BodyReader(Protocol):
    """Reads one body, piece by piece."""

    def write(self, chunk: bytes) -> None:
        """Take the next piece."""

    def fields(self) -> Fields:
        """What the whole body holds."""


async def read_body(request: Request, takes: Mapping[str, FieldKind]) -> Fields:
    """Read a request's body.

    Args:
        request: one whose body nobody has read.
        takes: what the call takes, by name. Other names are read as well; their values may be left out.

    Raises:
        UnsupportedContentTypeError: the body is of another type.
        MalformedFormError: it cannot be read, or was cut short.
        InvalidFieldError: a name or a value is not what it has to be.
        TooManyFilesError: more files than MATCHKA_MAX_FILES.
        UploadTimeoutError: it did not arrive within MATCHKA_MAX_UPLOAD_S.
    """
    settings: Settings = request.app.state.settings
    reader = _reader_of(request.headers.get("content-type", ""), takes, settings.max_files)
    try:
        async with asyncio.timeout(settings.max_upload_s):
            async for chunk in request.stream():
                reader.write(chunk)
    except TimeoutError as error:
        raise UploadTimeoutError(
            f"The body did not arrive within {settings.max_upload_s:g} s.", remedy="Send it faster, or in parts."
        ) from error
    return reader.fields()


def _reader_of(content_type: str, takes: Mapping[str, FieldKind], max_files: int) -> BodyReader:
    media_type = content_type.split(";")[0].strip().lower()
    if media_type == MULTIPART:
        return MultipartReader(content_type, max_files)
    if media_type == JSON:
        return JsonReader(takes, max_files)
    raise UnsupportedContentTypeError(
        f"The body must be {MULTIPART} or {JSON}.",
        value=content_type or "no content type",
        remedy="Send a form with files, or an object with files as base64.",
    )
