"""What is let in: bodies up to a limit, counted while they stream, and a bounded number of requests at once."""

import asyncio
import math
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.backlog import Backlog
from service.errors import BodyTooLargeError, OverloadedError
from service.problems import problem_response

LINGER_S: Final = 5.0  # a client that is still sending gets this long to finish and read the refusal
LINGER_BODIES: Final = 4  # and may send this many times the limit, read and thrown away
MIB: Final = 1 << 20
GUARDED_PREFIX: Final = "/v1/"


class BodyLimit:
    """ASGI middleware: refuses a body as soon as it passes the limit, by its announced length or by counting.

    Args:
        app: what is behind it.
        max_body_mib: largest body.
        max_bodies_mib: largest sum of all bodies that are here at once; one body is always let in.
    """

    def __init__(self, app: ASGIApp, max_body_mib: float, max_bodies_mib: float = math.inf) -> None:
        self._app = app
        self._max_bytes = int(max_body_mib * MIB)
        self._max_body_mib = max_body_mib
        self._max_all_bytes = max_bodies_mib * MIB
        self._all_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isascii() and announced.isdecimal() and int(announced) > self._max_bytes:
            await self._refuse(scope, receive, send, announced)
            return
        expected = int(announced) if announced.isascii() and announced.isdecimal() else 0
        received = held = 0

        def hold(bytes_here: int) -> None:
            nonlocal held
            others = self._all_bytes - held
            if others and others + bytes_here > self._max_all_bytes:
                raise _BodiesPassedLimitError
            self._all_bytes, held = others + bytes_here, bytes_here

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise _BodyPassedLimitError
            hold(max(received, expected))
            return message

        try:
            hold(expected)
            await self._app(scope, counted_receive, send)
        except _BodyPassedLimitError:
            await self._refuse(scope, receive, send, f"more than {self._max_bytes}")
        except _BodiesPassedLimitError:
            await problem_response(
                OverloadedError(
                    f"The bodies of all requests would take more than {self._max_all_bytes / MIB:g} MiB of memory.",
                    remedy="Try again after the seconds in Retry-After.",
                )
            )(scope, receive, send)
        finally:
            self._all_bytes -= held

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, size: str) -> None:
        error = BodyTooLargeError(
            f"The body is larger than {self._max_body_mib:g} MiB.",
            value=f"{size} bytes",
            remedy="Send fewer or shorter files, or compress them (FLAC, OGG).",
        )

        async def send_then_linger(message: Message) -> None:
            # Most clients read no answer before they have sent everything; closing at once would look like a crash.
            if message["type"] != "http.response.body":
                await send(message)
                return
            await send({**message, "more_body": True})
            await _drain(receive, self._max_bytes * LINGER_BODIES)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        await problem_response(error)(scope, receive, send_then_linger)


class InFlightLimit:
    """ASGI middleware: answers 503 with Retry-After when too many requests are in flight, or would wait too long."""

    def __init__(self, app: ASGIApp, max_in_flight: int, backlog: Backlog | None = None) -> None:
        self._app = app
        self._max_in_flight = max_in_flight
        self._backlog = backlog
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not scope["path"].startswith(GUARDED_PREFIX):
            await self._app(scope, receive, send)
            return
        try:
            self._require_room()
        except OverloadedError as error:
            await problem_response(error)(scope, receive, send)
            return
        self._in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1

    def _require_room(self) -> None:
        if self._in_flight >= self._max_in_flight:
            raise OverloadedError(
                f"{self._max_in_flight} requests are in flight, as many as the service accepts.",
                remedy="Try again after the seconds in Retry-After.",
            )
        if self._backlog is not None:
            self._backlog.require_room()


class _BodyPassedLimitError(BaseException):
    """Unwinds the application past every handler; never seen outside this module."""


class _BodiesPassedLimitError(BaseException):
    """The same, for the sum of all bodies."""


async def _drain(receive: Receive, most_bytes: int) -> None:
    drained = 0
    try:
        async with asyncio.timeout(LINGER_S):
            while drained < most_bytes:
                message = await receive()
                drained += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
