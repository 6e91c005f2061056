"""A request's body, read in time by the reader of its content type."""

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

from starlette.requests import Request

from matchka.api.bodies.fields import FieldKind, Fields
from matchka.api.bodies.json_object import JSON, JsonReader
from matchka.api.bodies.multipart import MULTIPART, MultipartReader
from matchka.errors import UnsupportedContentTypeError, UploadTimeoutError
from matchka.settings import Settings

KIB: Final = 1 << 10
GRACE_S: Final = 10.0  # before a body is held to the least rate: connections begin slowly, a busy server reads late


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
        UploadTimeoutError: it did not arrive within MATCHKA_MAX_UPLOAD_S, or not at MATCHKA_MIN_UPLOAD_KIB_S.
    """
    settings: Settings = request.app.state.settings
    reader = _reader_of(request.headers.get("content-type", ""), takes, settings.max_files)
    received, began = 0, asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(began + upload_bound_s(0, settings)) as bound:
            async for chunk in request.stream():
                reader.write(chunk)
                received += len(chunk)
                bound.reschedule(began + upload_bound_s(received, settings))
    except TimeoutError as error:
        raise _upload_timeout(received, settings) from error
    return reader.fields()


def upload_bound_s(received: int, settings: Settings) -> float:
    """Seconds from its beginning within which more of a body has to come.

    Args:
        received: bytes that are here.
        settings: the least rate, and the longest upload.
    """
    return min(settings.max_upload_s, GRACE_S + received / (settings.min_upload_kib_s * KIB))


def _upload_timeout(received: int, settings: Settings) -> UploadTimeoutError:
    bound_s = upload_bound_s(received, settings)
    if bound_s == settings.max_upload_s:
        return UploadTimeoutError(
            f"The body did not arrive within {bound_s:g} s.", remedy="Send it faster, or in parts."
        )
    return UploadTimeoutError(
        f"The body came more slowly than {settings.min_upload_kib_s:g} KiB a second, after the first {GRACE_S:g} s.",
        value=f"{received} bytes in {bound_s:.1f} s",
        remedy="Send it over a faster connection, or in parts.",
    )


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
