"""A cheap HTTP client: one connection that stays open, forms built by hand, and no opinion about statuses."""

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from urllib3.filepost import encode_multipart_formdata

from loadtests.server import HOST

TIMEOUT_S = 60.0
IDLE_S = 3.0  # after which a connection is not used again: services close those that are idle, by default after 10
NO_HEADERS: Mapping[str, str] = {}


class ConnectionLostError(Exception):
    """No answer came; whether the call was carried out is not known."""


@dataclass(frozen=True)
class Answer:
    """A status, the JSON that came with it, and the headers by their names in small letters."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class Caller:
    """One connection to the service, with a key where one is in force; not to be shared between threads."""

    def __init__(self, port: int, key: str | None = None) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
        self._authorization = {} if key is None else {"Authorization": f"Bearer {key}"}
        self.requests = 0
        self._used = time.monotonic()

    def post(self, call: str, files: list[bytes], headers: Mapping[str, str] = NO_HEADERS, **fields: str) -> Answer:
        """A form with files to /v1/`call`."""
        parts: list[tuple[str, Any]] = [*fields.items(), *(("file", ("sample", data)) for data in files)]
        body, content_type = encode_multipart_formdata(parts)
        return self._send("POST", f"/v1/{call}", body, {**headers, "Content-Type": content_type})

    def get(self, path: str, headers: Mapping[str, str] = NO_HEADERS) -> Answer:
        """GET /v1/`path`."""
        return self._send("GET", f"/v1/{path}", None, headers)

    def delete(self, path: str, headers: Mapping[str, str] = NO_HEADERS) -> Answer:
        """DELETE /v1/`path`."""
        return self._send("DELETE", f"/v1/{path}", None, headers)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        self.requests += 1
        if time.monotonic() - self._used > IDLE_S:
            self._connection.close()  # the next request opens it again
        try:
            self._connection.request(method, path, body, {**headers, **self._authorization})
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise ConnectionLostError(f"{method} {path}: {error!r}") from error
        finally:
            self._used = time.monotonic()
        received = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, json.loads(content) if content else None, received)
