"""Connections that ask nothing: bounds on the time and size of a request's head, and on the time to take an answer."""

import asyncio
import struct
import sys
from typing import Any, ClassVar, Final, cast

from uvicorn.protocols.http.auto import AutoHTTPProtocol

LARGEST_HEAD: Final = 64 << 10  # bytes; the parser itself would take any number
CHECKS: Final = 4  # looks at a connection within the time that it has


class PatientHttpProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # one of two classes, found at import
    """The server's HTTP protocol, which by itself lets a silent connection stay for ever.

    A connection is closed when it has not begun a request for max_idle_s, is that long in sending a head, or takes
    nothing of an answer for that long. Requests under way have limits of their own (service/forms.py,
    service/patience.py).
    """

    max_idle_s: ClassVar[float] = 10.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to watch the connection."""
        super().connection_made(transport)
        self._watched = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        self._idle_since = self._taken_at = self._loop.time()
        self._left_bytes = 0
        self._answering: Any = None
        self._head_bytes = 0
        self._is_in_head = False
        self._look_again()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
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
        self._is_in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The parser's call where a head ends."""
        self._is_in_head = False
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

    def _look(self) -> None:
        now, left_bytes = self._loop.time(), _bytes_left(self._watched)
        if left_bytes != self._left_bytes:
            self._left_bytes, self._taken_at = left_bytes, now
        is_asking: Any = self.cycle is not None and not self.cycle.response_complete
        # an answer may be complete before its client has taken it, and one that is not taken may never be complete
        waits_for_client = left_bytes > 0 or not is_asking
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


def patient_protocol(max_idle_s: float) -> type[asyncio.Protocol]:
    """The protocol with another time."""
    return type("PatientHttpProtocol", (PatientHttpProtocol,), {"max_idle_s": max_idle_s})


def allow_many_connections() -> None:
    """Take as many files and sockets as the system allows this process; many systems begin with 1,024."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
