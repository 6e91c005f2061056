"""Connections: bounds on their number, on the time and size of a request's head, and on the time to take an answer.

The server bounds none of these and has no hooks for them. A protocol of asyncio stands between the transport and the
server's own protocol and sees the bytes; an ASGI application around the service sees requests begin and end. A context
variable, which tasks inherit, tells the second on which connection a request came.
"""

import asyncio
import struct
import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

import uvicorn
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_HEAD: Final = 64 << 10  # bytes; the parser itself would take any number
MOST_DROPPED: Final = 1 << 20  # bytes of a body without a length that may still come after its answer
CHECKS: Final = 4  # looks at a connection within the time that it has
SILENT_S: Final = 1.0  # a connection that asks nothing for so long makes room for a new one where all are taken
LINGER_S: Final = 5.0  # a client that is refused while it still sends gets this long to finish and read that
TOO_LARGE: Final = "The request's head is too large."
# On every answer: what is said of a person is for the caller alone, and is not what a browser guesses it to be.
ANSWER_HEADERS: Final = [("cache-control", "no-store"), ("x-content-type-options", "nosniff")]


@dataclass(frozen=True)
class Bounds:
    """What connections are allowed.

    Attributes:
        max_idle_s: longest time to begin a request, to send its head, or to take nothing of an answer.
        max_connections: most that are open at once.
        too_many: the whole answer, as bytes, to a connection beyond that.
    """

    max_idle_s: float
    max_connections: int = 2048
    too_many: bytes = b""


class Connection(asyncio.Protocol):
    """Hands all on to the server's protocol, and closes a connection that keeps none of its bounds.

    Requests under way have limits of their own (the form timeout, matchka.runtime.deadline).

    Args:
        bounds: what it is allowed.
        admitted: all connections of one server that are open, the oldest first.
        open_server_protocol: makes the server's own protocol.
    """

    def __init__(
        self,
        bounds: Bounds,
        admitted: dict["Connection", None],
        open_server_protocol: Callable[[], asyncio.Protocol],
    ) -> None:
        self._bounds = bounds
        self._admitted = admitted
        self._open_server_protocol = open_server_protocol
        self._requests: set[_Request] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to watch the connection, or turn it away."""
        self._transport = cast(asyncio.Transport, transport)
        if len(self._admitted) >= self._bounds.max_connections and not self._make_room():
            self._transport.set_protocol(_TurnedAway(self._transport, self._bounds.too_many))
            return
        self._admitted[self] = None
        self._loop = asyncio.get_running_loop()
        self._idle_since = self._taken_at = self._loop.time()
        self._left_bytes = 0
        self._head_bytes, self._allowed_bytes = 0, LARGEST_HEAD
        self._server = self._open_server_protocol()
        self._server.connection_made(transport)
        self._look_again()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching, and tell every request; the server would tell the newest alone, which may wait for others."""
        self._admitted.pop(self, None)
        self._next_look.cancel()
        for request in self._requests:
            request.ended.set()
        self._server.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand data on, until a head is too large."""
        for request in self._requests:
            request.arrived_bytes += len(data)
        if not self._requests:
            self._head_bytes += len(data)
        token = _CURRENT.set(self)
        try:
            self._server.data_received(data)
        finally:
            _CURRENT.reset(token)
        if self._head_bytes > self._allowed_bytes:
            self._loop.call_soon(self._refuse_large_head)  # behind the request that may just have begun

    def eof_received(self) -> bool | None:
        """Hand on that the client sends no more."""
        return self._server.eof_received()

    def pause_writing(self) -> None:
        """Hand on that the client takes too little."""
        self._server.pause_writing()

    def resume_writing(self) -> None:
        """Hand on that it took what there was."""
        self._server.resume_writing()

    def begin(self, request: "_Request") -> None:
        """A head has come whole."""
        self._requests.add(request)
        self._head_bytes, self._allowed_bytes = 0, LARGEST_HEAD

    def end(self, request: "_Request") -> None:
        """A request was answered; what is left of its body is no head."""
        self._requests.discard(request)
        self._idle_since = self._loop.time()
        self._allowed_bytes += request.unread_bytes

    @property
    def is_lost(self) -> bool:
        """Whether nothing that is written would reach the client."""
        return self not in self._admitted

    def _refuse_large_head(self) -> None:
        if not self._requests and self._head_bytes > self._allowed_bytes and not self._transport.is_closing():
            headers = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(TOO_LARGE)))]
            self._transport.write(raw_answer("400 Bad Request", headers, TOO_LARGE.encode()))
            self._transport.close()

    def _look_again(self) -> None:
        self._next_look = self._loop.call_later(self._bounds.max_idle_s / CHECKS, self._look)

    def _look(self) -> None:
        now, left_bytes = self._loop.time(), _bytes_left(self._transport)
        if left_bytes != self._left_bytes:
            self._left_bytes, self._taken_at = left_bytes, now
        # an answer may be complete before its client has taken it, and one that is not taken may never be complete
        waits_for_client = left_bytes > 0 or not self._requests
        if waits_for_client and now - max(self._idle_since, self._taken_at) >= self._bounds.max_idle_s:
            self._transport.abort()  # close() would wait for a client that takes nothing
            return
        self._look_again()

    def _make_room(self) -> bool:
        """Let the oldest connection go that asks nothing; whether there was one."""
        longest = asyncio.get_running_loop().time() - SILENT_S
        for connection in self._admitted:
            is_silent = not connection._requests and connection._idle_since <= longest
            if is_silent and not _bytes_left(connection._transport):
                del self._admitted[connection]
                connection._transport.abort()
                return True
        return False


class _TurnedAway(asyncio.Protocol):
    """A connection beyond the bound: told so at once, then read and dropped until its client has read that."""

    def __init__(self, transport: asyncio.Transport, answer: bytes) -> None:
        self._deadline = asyncio.get_running_loop().call_later(LINGER_S, transport.abort)
        transport.write(answer)
        if transport.can_write_eof():
            transport.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the interface is asyncio's
        """The client has gone, or was let go."""
        self._deadline.cancel()


# The connection whose bytes the server is reading, and of which the tasks are that this begins. A context variable only
# works at module level.
_CURRENT: Final[ContextVar[Connection | None]] = ContextVar("matchka_connection", default=None)


class RequestWatch:
    """ASGI application around another: tells each connection of its requests, and refuses heads that are too large."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        connection = _CURRENT.get()
        if scope["type"] != "http" or connection is None:
            await self._app(scope, receive, send)
            return
        request = _Request(connection, Headers(scope=scope), receive, send)
        connection.begin(request)
        try:
            if _head_bytes(scope) > LARGEST_HEAD:
                refusal = PlainTextResponse(TOO_LARGE, status_code=400, headers={"connection": "close"})
                await refusal(scope, receive, send)
            else:
                await self._app(scope, request.receive, request.send)
        finally:
            connection.end(request)


class _Request:
    """One request of a connection: how much of its body came, and whether it has ended."""

    def __init__(self, connection: Connection, headers: Headers, receive: Receive, send: Send) -> None:
        self.arrived_bytes = 0
        self.ended = asyncio.Event()
        self._connection = connection
        self._headers = headers
        self._receive = receive
        self._send = send
        self._is_read = False

    @property
    def unread_bytes(self) -> int:
        """The most that can still come of its body."""
        announced = self._headers.get("content-length", "")
        if self._is_read or not (announced or "transfer-encoding" in self._headers):
            return 0
        return max(0, int(announced) - self.arrived_bytes) if announced else MOST_DROPPED

    async def receive(self) -> Message:
        """The next piece of the body, or that the request has ended."""
        if self._is_read:
            await self.ended.wait()
            return {"type": "http.disconnect"}
        message = await self._receive()
        self._is_read = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send a piece of the answer."""
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if is_last or not self._connection.is_lost:
            await self._send(message)  # the server waits for the last one, also where nobody takes it
        if is_last:
            self.ended.set()


def _head_bytes(scope: Scope) -> int:
    target = len(scope["raw_path"]) + len(scope["query_string"])
    return target + sum(len(name) + len(value) + len(b": \r\n") for name, value in scope["headers"])


def _bytes_left(transport: asyncio.Transport) -> int:
    """Bytes that were written and that the client's system has not taken: here and, on Linux, in this system."""
    left = transport.get_write_buffer_size()
    found = transport.get_extra_info("socket")
    if sys.platform == "linux" and found is not None and found.fileno() >= 0:
        import fcntl
        import termios

        answer = fcntl.ioctl(found.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
        (queued,) = struct.unpack("i", answer)
        left += int(queued)
    return left


def raw_answer(status: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    """An answer for a connection of which no request was read; the connection is closed after it."""
    lines = [f"{name}: {value}\r\n" for name, value in (*headers, *ANSWER_HEADERS, ("connection", "close"))]
    return f"HTTP/1.1 {status}\r\n{''.join(lines)}\r\n".encode() + body


def bounded_protocol(bounds: Bounds) -> type[asyncio.Protocol]:
    """The protocol of one server, for uvicorn.Config(http=...); its application needs a RequestWatch around it."""
    found = uvicorn.Config(_no_application, ws="none", log_config=None)
    found.load()
    server_protocol = found.http_protocol_class  # the one of those installed that the server itself would choose
    admitted: dict[Connection, None] = {}

    class BoundedProtocol(Connection):
        def __init__(self, **of_server: Any) -> None:  # whatever the server hands to its own
            super().__init__(bounds, admitted, partial(server_protocol, **of_server))

    return BoundedProtocol


async def _no_application(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Stands where a configuration needs an application."""


def allow_many_connections() -> None:
    """Take as many files and sockets as the system allows this process; many systems begin with 1,024."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
