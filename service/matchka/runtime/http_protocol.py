"""Limits of connections: their number, a request head's size and time, and the time to read an answer.

The server bounds none of these and has no hooks for them. A protocol of asyncio stands between the transport and the
server's own protocol and sees the bytes; an ASGI application around the service sees requests begin and end. A context
variable, which tasks inherit, tells the second on which connection a request came.
"""

import asyncio
import ssl
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

from matchka.runtime.open_connections import ConnectionStanding, OpenConnections
from matchka.runtime.request_connection import EXTENSION
from matchka.runtime.unread_body import LINGER_S

LARGEST_HEAD: Final = 64 << 10  # bytes; the parser itself would take any number
MOST_DROPPED: Final = 1 << 20  # bytes of a body without a length that may still come after its answer
CHECKS: Final = 4  # looks at a connection within the time that it has
MOST_TURNED_AWAY: Final = 256  # connections beyond the bound that are open until they have read that
# The framing of a chunked body: six bytes carry one where each chunk is a byte long. What is beyond that, with some
# that came and were not taken yet, is extensions of chunks or trailers, which the server would keep without a bound.
FRAMING: Final = 6
FRAMING_SLACK: Final = 1 << 20
TOO_LARGE: Final = "The request's head is too large."
# On every answer: what is said of a person is for the caller alone, and is not what a browser guesses it to be.
ANSWER_HEADERS: Final = [("cache-control", "no-store"), ("x-content-type-options", "nosniff")]


@dataclass(frozen=True)
class Bounds:
    """Limits of connections.

    Attributes:
        max_idle_s: longest time to begin a request, to send its head, or to take nothing of an answer.
        max_connections: most that are open at once.
        too_many: the whole answer, as bytes, to a connection beyond that; over TLS it is closed unanswered.
        tls: what the next connection is secured with; None: not at all.
    """

    max_idle_s: float
    max_connections: int = 2048
    too_many: bytes = b""
    tls: Callable[[], ssl.SSLContext] | None = None


class Connection(asyncio.Protocol):
    """Forwards everything to the server's protocol, and closes a connection that exceeds its limits.

    Requests under way have limits of their own (the form timeout, matchka.runtime.deadline).

    Args:
        bounds: what it is allowed.
        open_connections: all of one server.
        turned_away: connections of the same server beyond the bound, the oldest first.
        open_server_protocol: makes the server's own protocol.
    """

    def __init__(
        self,
        bounds: Bounds,
        open_connections: OpenConnections["Connection"],
        turned_away: dict["_TurnedAway", None],
        open_server_protocol: Callable[[], asyncio.Protocol],
    ) -> None:
        self._bounds = bounds
        self._open_connections = open_connections
        self._turned_away = turned_away
        self._open_server_protocol = open_server_protocol
        self._requests: set[_Request] = set()
        self._is_authorised = self._is_lost = False
        self._server: asyncio.Protocol | None = None  # none before the connection is secured
        self._early = b""  # what came before that

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to watch the connection, or turn it away."""
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        if not self._open_connections.has_room(self._loop.time()):
            if self._bounds.tls is not None:
                self._transport.set_protocol(asyncio.Protocol())  # one that does nothing
                self._transport.abort()
                return
            _TurnedAway(self._transport, self._turned_away).answer(self._bounds.too_many)
            return
        self._open_connections.place(self, ConnectionStanding.UNKNOWN)
        self._idle_since = self._taken_at = self._loop.time()
        self._left_bytes = 0
        self._head_bytes, self._allowed_bytes = 0, LARGEST_HEAD
        self._look_again()
        if self._bounds.tls is None:
            self._begin_serving()
        else:  # here and not in the server, which would count a connection only when it is secured
            self._securing = self._loop.create_task(self._secure(self._bounds.tls))

    async def _secure(self, tls: Callable[[], ssl.SSLContext]) -> None:
        """Shake hands; that has as long as a request's head."""
        try:
            secured = await self._loop.start_tls(
                self._transport,
                self,
                tls(),
                server_side=True,
                ssl_handshake_timeout=self._bounds.max_idle_s,
                ssl_shutdown_timeout=LINGER_S,
            )
        except OSError as error:  # no TLS, none that is allowed, too slow, or gone
            self.connection_lost(error)
            return
        if secured is None or self._is_lost:
            self.connection_lost(None)
            return
        self._transport = secured
        self._begin_serving()

    def _begin_serving(self) -> None:
        self._server = self._open_server_protocol()
        self._server.connection_made(self._transport)
        early, self._early = self._early, b""
        if early:
            self.data_received(early)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching, and tell every request; the server would tell the newest alone, which may wait for others."""
        self._is_lost = True
        self._open_connections.remove(self)
        self._next_look.cancel()
        for request in self._requests:
            request.ended.set()
        if self._server is not None:
            self._server.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Forward data, unless the head is too large."""
        if self._server is None:
            self._early += data
            return
        for request in self._requests:
            request.arrived_bytes += len(data)
            if request.is_mostly_framing:
                self.hang_up()
                return
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
        """Forward that the client sends no more."""
        return None if self._server is None else self._server.eof_received()

    def pause_writing(self) -> None:
        """Forward that the write buffer is full."""
        if self._server is not None:
            self._server.pause_writing()

    def resume_writing(self) -> None:
        """Forward that the write buffer has drained."""
        if self._server is not None:
            self._server.resume_writing()

    def begin(self, request: "_Request") -> None:
        """A request's head is complete."""
        self._requests.add(request)
        self._head_bytes, self._allowed_bytes = 0, LARGEST_HEAD

    def end(self, request: "_Request") -> None:
        """A request was answered; the rest of its body does not count as a head."""
        self._requests.discard(request)
        self._idle_since = self._loop.time()
        self._allowed_bytes += request.unread_bytes
        if not (self._is_lost or self._requests or self._transport.is_closing()):
            standing = ConnectionStanding.AUTHORISED if self._is_authorised else ConnectionStanding.UNKNOWN
            self._open_connections.place(self, standing)

    def note_authorised(self) -> None:
        """What a guard says of a request (request_connection.py)."""
        self._is_authorised = True
        if not (self._is_lost or self._transport.is_closing()):
            self._open_connections.place(self, ConnectionStanding.AT_WORK)

    def note_refused(self) -> None:
        """What a guard says of a request (request_connection.py)."""
        if not (self._is_lost or self._transport.is_closing()):
            self._open_connections.place(self, ConnectionStanding.REFUSED)

    def hang_up(self) -> bool:
        """End the connection, with whatever is written."""
        self._transport.abort()  # close() would wait for a client that takes nothing
        return True

    def let_go(self) -> None:
        """Make room for another."""
        self.hang_up()

    def is_silent_since(self, moment: float) -> bool:
        """Whether it has asked nothing since, with nothing on its way; without a valid key also: reads nothing."""
        if self._idle_since > moment:
            return False
        has_left = _bytes_left(self._transport) > 0
        if has_left and not self._is_authorised:
            return True
        return not (self._requests or has_left or _bytes_unread(self._transport))

    @property
    def is_lost(self) -> bool:
        """Whether the connection is closed."""
        return self._is_lost

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
            self.hang_up()
            return
        self._look_again()


class _TurnedAway(asyncio.Protocol):
    """A connection beyond the bound: told so at once, then read and dropped until its client has read that.

    Args:
        others: those of the same server, the oldest first.
    """

    def __init__(self, transport: asyncio.Transport, others: dict["_TurnedAway", None]) -> None:
        self._transport = transport
        self._others = others
        self._deadline = asyncio.get_running_loop().call_later(LINGER_S, transport.abort)

    def answer(self, answer: bytes) -> None:
        """Take the connection over, which whoever had it forgets, and say that there is no room."""
        self._transport.set_protocol(self)  # first: what comes from now on must reach nobody else, whatever fails
        if len(self._others) >= MOST_TURNED_AWAY:
            oldest = next(iter(self._others))
            del self._others[oldest]
            oldest._transport.abort()
        self._others[self] = None
        try:
            self._transport.write(answer)
            if self._transport.can_write_eof():
                self._transport.write_eof()
        except OSError:  # the client has gone already
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the interface is asyncio's
        """The client has gone, or was let go."""
        self._others.pop(self, None)
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
        scope = {**scope, "extensions": {**scope.get("extensions", {}), EXTENSION: connection}}
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
        self.arrived_bytes = self._taken_bytes = 0
        self.ended = asyncio.Event()
        self._connection = connection
        self._headers = headers
        self._receive = receive
        self._send = send
        self._is_read = False

    @property
    def is_mostly_framing(self) -> bool:
        """Whether far more came of a body without a length than its content and the framing of its chunks."""
        is_chunked = "transfer-encoding" in self._headers
        return is_chunked and self.arrived_bytes > FRAMING * self._taken_bytes + FRAMING_SLACK

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
        self._taken_bytes += len(message.get("body", b""))
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
    return transport.get_write_buffer_size() + _bytes_of_socket(transport, "TIOCOUTQ")


def _bytes_unread(transport: asyncio.Transport) -> int:
    """Bytes that the client has sent and the loop has not read yet, on Linux."""
    return _bytes_of_socket(transport, "FIONREAD")


def _bytes_of_socket(transport: asyncio.Transport, queue: str) -> int:
    found = transport.get_extra_info("socket")
    if sys.platform != "linux" or found is None or found.fileno() < 0:
        return 0
    import fcntl
    import termios

    answer = fcntl.ioctl(found.fileno(), getattr(termios, queue), struct.pack("i", 0))
    (queued,) = struct.unpack("i", answer)
    return int(queued)


def raw_answer(status: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    """An answer for a connection of which no request was read; the connection is closed after it."""
    lines = [f"{name}: {value}\r\n" for name, value in (*headers, *ANSWER_HEADERS, ("connection", "close"))]
    return f"HTTP/1.1 {status}\r\n{''.join(lines)}\r\n".encode() + body


def bounded_protocol(bounds: Bounds) -> type[asyncio.Protocol]:
    """The protocol of one server, for uvicorn.Config(http=...); its application needs a RequestWatch around it."""
    found = uvicorn.Config(_no_application, ws="none", log_config=None)
    found.load()
    server_protocol = found.http_protocol_class  # the one of those installed that the server itself would choose
    open_connections: OpenConnections[Connection] = OpenConnections(bounds.max_connections)
    turned_away: dict[_TurnedAway, None] = {}

    class BoundedProtocol(Connection):
        def __init__(self, **of_server: Any) -> None:  # whatever the server hands to its own
            super().__init__(bounds, open_connections, turned_away, partial(server_protocol, **of_server))

    return BoundedProtocol


async def _no_application(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Placeholder where a configuration needs an application."""


def allow_many_connections() -> None:
    """Take as many files and sockets as the system allows this process; many systems begin with 1,024."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
