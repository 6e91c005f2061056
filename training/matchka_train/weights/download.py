"""Download of one file over HTTP, resumed after an interruption and retried with back-off."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import requests

from matchka_train.errors import DownloadError

BLOCK_BYTES: Final = 1 << 14  # what an interruption loses at most
OK, PARTIAL, RANGE_NOT_SATISFIABLE, TOO_MANY_REQUESTS, SERVER_ERROR = 200, 206, 416, 429, 500


@dataclass(frozen=True)
class RetryPolicy:
    """Timeouts and retries of a download.

    Attributes:
        connect_s: for a connection.
        read_s: for the next bytes; a hub that stalls longer is asked again.
        attempts: in a row that bring nothing new, before it is given up.
        pause_s: before the second attempt; doubled before each one after it.
    """

    connect_s: float = 10.0
    read_s: float = 30.0
    attempts: int = 4
    pause_s: float = 1.0


class _TryAgainError(Exception):
    """A transient failure: no connection, a stall, a body that ended early, an answer of 429 or 500 and above."""


def fetch_file(url: str, part: Path, retry_policy: RetryPolicy, on_bytes: Callable[[int, int | None], None]) -> None:
    """Fetch a file, going on from what an earlier call left.

    A beginning is gone on from only if the hub says that the file is still the same (its validator is kept in a file
    beside the part); a hub that ignores this sends the whole file again.

    Args:
        url: of the file.
        part: where it is written; complete when this returns, and kept when it raises.
        retry_policy: how long to wait.
        on_bytes: called with the bytes that are there and the bytes there will be, where the hub says so.

    Raises: DownloadError: the hub does not have the file, or does not answer; the value says which.
    """
    longest, idle = _size(part), 0
    while True:
        try:
            _attempt(url, part, retry_policy, on_bytes)
        except _TryAgainError as error:
            idle = 0 if _size(part) > longest else idle + 1
            longest = max(longest, _size(part))
            if idle >= retry_policy.attempts:
                raise DownloadError(f"{url} cannot be fetched.", value=error, remedy=_AGAIN) from error
            time.sleep(retry_policy.pause_s * 2 ** max(0, idle - 1))
        else:
            _validator_of(part).unlink(missing_ok=True)
            return


def discard(part: Path) -> None:
    """Remove a part and what is kept beside it."""
    part.unlink(missing_ok=True)
    _validator_of(part).unlink(missing_ok=True)


def _attempt(url: str, part: Path, retry_policy: RetryPolicy, on_bytes: Callable[[int, int | None], None]) -> None:
    validator = _validator_of(part)
    begun = _size(part) if validator.is_file() else 0
    headers = {"Accept-Encoding": "identity"}  # a compressed body would have other bytes and another length
    if begun:
        headers |= {"Range": f"bytes={begun}-", "If-Range": validator.read_text(encoding="utf-8")}
    try:
        with requests.get(
            url, headers=headers, stream=True, timeout=(retry_policy.connect_s, retry_policy.read_s)
        ) as response:
            if response.status_code == RANGE_NOT_SATISFIABLE and begun:
                discard(part)
                raise _TryAgainError("the beginning that was there does not fit")
            _require_success(url, response)
            total = _write(response, part, begun, on_bytes)
    except requests.RequestException as error:
        raise _TryAgainError(_cause(error)) from error
    if total is not None and _size(part) != total:
        raise _TryAgainError(f"{_size(part)} of {total} bytes came")


def _require_success(url: str, response: requests.Response) -> None:
    status = response.status_code
    if status == TOO_MANY_REQUESTS or status >= SERVER_ERROR:
        raise _TryAgainError(f"HTTP status {status}")
    if status not in (OK, PARTIAL):
        raise DownloadError(f"{url} cannot be fetched.", value=f"HTTP status {status}", remedy=_GONE)
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
    if kind == "text/html":
        # a sign-in page of a hub or of a network; as a first pull it would be taken for the weights
        raise DownloadError(f"{url} answers with a page, not with a file.", value=kind, remedy=_GONE)


def _write(
    response: requests.Response, part: Path, begun: int, on_bytes: Callable[[int, int | None], None]
) -> int | None:
    """Append to the part, or begin it anew; returns the bytes the whole file has, where the hub says so."""
    resumes = response.status_code == PARTIAL and _first_byte(response) == begun
    if response.status_code == PARTIAL and not resumes:
        discard(part)
        raise _TryAgainError("the hub sent another part than it was asked for")
    have = begun if resumes else 0
    length = response.headers.get("Content-Length")
    total = None if length is None else have + int(length)
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab" if resumes else "wb") as file:
        if not resumes:
            _keep_validator(response, part)
        on_bytes(have, total)
        for block in response.iter_content(BLOCK_BYTES):
            file.write(block)
            have += len(block)
            on_bytes(have, total)
    return total


def _keep_validator(response: requests.Response, part: Path) -> None:
    """Note what says later that the file is still the same; a weak ETag does not, and without it nothing resumes."""
    found = response.headers.get("ETag", "")
    if found.startswith("W/") or not found:
        found = response.headers.get("Last-Modified", "")
    if found:
        _validator_of(part).write_text(found, encoding="utf-8")
    else:
        _validator_of(part).unlink(missing_ok=True)


def _first_byte(response: requests.Response) -> int | None:
    """Of `Content-Range: bytes 100-199/200`: 100."""
    start = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdigit() else None


def _validator_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.validator")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _cause(error: BaseException) -> str:
    """What went wrong at the bottom; the library's own text is long, and only its beginning would be shown."""
    while error.__context__ is not None:
        error = error.__context__
    return f"{type(error).__name__}: {error}"


_AGAIN: Final = "The same command goes on from what has come."
_GONE: Final = "Look at its makers' page whether it moved or asks for a sign-in."
