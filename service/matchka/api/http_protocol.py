"""Connections: bounds on their number, on the time and size of a request's head, and on the time to take an answer."""

import asyncio
import struct
import sys
from typing import Any, ClassVar, Final, cast

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from matchka.api.guards.middleware import LINGER_S
from matchka.api.problems import problem_response
from matchka.errors import OverloadedError

LARGEST_HEAD: Final = 64 << 10  # bytes; the parser itself would take any number
CHECKS: Final = 4  # looks at a connection within the time that it has
SILENT_S: Final = 1.0  # a connection that asks nothing for so long makes room for a new one where all are taken
# On every answer: what is said of a person is for the caller alone, and is not what a browser guesses it to be.
ANSWER_HEADERS: Final = [("cache-control", "no-store"), ("x-content-type-options", "nosniff")]


class HeadTooLargeError(Exception):
    """Stops the parser, whose server then answers 400; never seen outside it."""


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


class PatientHttpProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # one of two classes, found at import
    """The server's HTTP protocol, which by itself lets a silent connection stay for ever.

    A connection is closed when it has not begun a request for max_idle_s, is that long in sending a head, or takes
    nothing of an answer for that long. Requests under way have limits of their own (service/matchka/api/forms.py,
    service/matchka/runtime/deadline.py).
    """

    max_idle_s: ClassVar[float] = 10.0
    max_connections: ClassVar[int] = 2048
    too_many: ClassVar[bytes] = b""  # the whole answer to a connection beyond that
    # those of one server, the oldest first; a class of its own for each server has them
    admitted: ClassVar[dict["PatientHttpProtocol", None]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to watch the connection, or turn it away."""
        if len(self.admitted) >= self.max_connections and not self._make_room():
            opened = cast(asyncio.Transport, transport)
            opened.set_protocol(_TurnedAway(opened, self.too_many))
            return
        self.admitted[self] = None
        super().connection_made(transport)
        self._watched = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        self._idle_since = self._taken_at = self._loop.time()
        self._left_bytes = 0
        self._answering: Any = None
        self._head_bytes = self._parsed_bytes = 0
        self._is_in_head = False
        self._look_again()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        self.admitted.pop(self, None)
        self._next_look.cancel()
        self._forget_answer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand data on, until a head is too large."""
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD and not self._watched.is_closing():
                self.send_400_response("The request's head is too large.")

    def on_message_begin(self) -> None:
        """The parser's call where a head begins."""
        self._is_in_head, self._head_bytes, self._parsed_bytes = True, 0, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """The parser's call for a piece of the URL."""
        self._parsed_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser's call for each header."""
        self._parsed_bytes += len(name) + len(value) + len(b": \r\n")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The parser's call where a head ends.

        Raises: HeadTooLargeError: it came in one piece, and is too large.
        """
        self._is_in_head = False
        if self._parsed_bytes > LARGEST_HEAD:
            raise HeadTooLargeError
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """The server's call where an answer is handed over."""
        self._idle_since = self._loop.time()
        super().on_response_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._answering = cycle  # the server's own `cycle` is the newest request, which may wait behind this one
        super()._start_asgi_task(cycle, app)

    def _forget_answer(self) -> None:
        """Write no more of an answer that waits for its client, whose connection ends."""
        if self._answering is not None:
            self._answering.disconnected = True
            self._answering.message_event.set()  # whoever asks it for more is told as well

    def _look_again(self) -> None:
        self._next_look = self._loop.call_later(self.max_idle_s / CHECKS, self._look)

    @property
    def _is_asking(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _make_room(self) -> bool:
        """Let the oldest connection go that asks nothing; whether there was one."""
        longest = asyncio.get_running_loop().time() - SILENT_S
        for connection in self.admitted:
            if not connection._is_asking and connection._idle_since <= longest and not _bytes_left(connection._watched):
                del self.admitted[connection]
                connection._watched.abort()
                return True
        return False

    def _look(self) -> None:
        now, left_bytes = self._loop.time(), _bytes_left(self._watched)
        if left_bytes != self._left_bytes:
            self._left_bytes, self._taken_at = left_bytes, now
        # an answer may be complete before its client has taken it, and one that is not taken may never be complete
        waits_for_client = left_bytes > 0 or not self._is_asking
        if waits_for_client and now - max(self._idle_since, self._taken_at) >= self.max_idle_s:
            self._forget_answer()
            self._watched.abort()  # close() would wait for a client that takes nothing
            return
        self._look_again()


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


def patient_protocol(max_idle_s: float, max_connections: int = 2048) -> type[asyncio.Protocol]:
    """The protocol of one server.

    Args:
        max_idle_s: longest time to begin a request, or to take nothing of an answer.
        max_connections: most that are open at once.
    """
    too_many = problem_response(
        OverloadedError(
            f"{max_connections} connections are open, as many as the service accepts.",
            remedy="Try again after the seconds in Retry-After, and use connections again.",
        )
    )
    headers = [*too_many.headers.items(), *ANSWER_HEADERS, ("connection", "close")]
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    bounds = {
        "max_idle_s": max_idle_s,
        "max_connections": max_connections,
        "too_many": f"HTTP/1.1 503 Service Unavailable\r\n{head}\r\n".encode() + bytes(too_many.body),
        "admitted": {},
    }
    return type("PatientHttpProtocol", (PatientHttpProtocol,), bounds)


def allow_many_connections() -> None:
    """Take as many files and sockets as the system allows this process; many systems begin with 1,024."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
