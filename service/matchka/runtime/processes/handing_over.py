"""Connections are accepted by the parent and handed to its children, each to the one with fewest (decisions/177)."""

import asyncio
import errno
import socket
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, Protocol

MARK: Final = b"c"  # a descriptor travels with at least one byte
ACCEPTED_AT_ONCE: Final = 64  # before anything else of the parent's has its turn
PAUSE_S: Final = 0.05  # where no child takes a connection, or the system has no descriptors left


class HandedConnections(socket.socket):
    """The child's end: a listener to asyncio, whose connections the parent has accepted."""

    def accept(self) -> tuple[socket.socket, object]:
        """The next connection, and its peer's address.

        Raises:
            BlockingIOError: there is none now.
            ConnectionAbortedError: its peer has gone.
        """
        data, files, *_ = socket.recv_fds(self, len(MARK), 1)
        if not files:
            raise ConnectionAbortedError(errno.ECONNABORTED, "no descriptor came") if data else BlockingIOError
        # asyncio sends small answers at once (TCP_NODELAY) only where the protocol is named
        connection = socket.socket(proto=socket.IPPROTO_TCP, fileno=files[0])
        try:
            return connection, connection.getpeername()
        except OSError as error:
            connection.close()
            raise ConnectionAbortedError(*error.args) from error

    def listen(self, backlog: int = 0) -> None:
        """The parent listens."""


class Taker(Protocol):
    """A child, as whoever hands connections to it sees it."""

    @property
    def is_open(self) -> bool:
        """Whether it takes connections."""
        ...

    @property
    def preference(self) -> tuple[bool, int]:
        """Those with the least are preferred: whether it is not loaded yet, and how many connections it has."""
        ...

    def note_handed(self) -> None:
        """It was handed one more."""


class Front:
    """Accepts the connections of a listener and hands them over, in the event loop of the parent.

    While no child takes any they wait in the system's queue of the listener, and are lost with no child.

    Args:
        listener: bound and listening.
        takers: each child with the parent's end of its HandedConnections.
    """

    def __init__(self, listener: socket.socket, takers: Callable[[], Iterable[tuple[Taker, socket.socket]]]) -> None:
        self._listener = listener
        self._listener.setblocking(False)
        self._takers = takers
        self._kept: deque[socket.socket] = deque()  # accepted, and taken by no child yet
        self._is_listening = False
        self._is_closed = False

    def look(self) -> None:
        """Begin to accept where a child takes connections, or stop; to be called when children change."""
        has_takers = not self._is_closed and any(taker.is_open for taker, _ in self._takers())
        while has_takers and self._kept and self._is_handed(self._kept[0]):
            self._kept.popleft().close()
        wants = has_takers and not self._kept
        if wants and not self._is_listening:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)
        elif self._is_listening and not wants:
            asyncio.get_running_loop().remove_reader(self._listener)
        self._is_listening = wants

    def close(self) -> None:
        """Accept no more."""
        self._is_closed = True
        self.look()
        self._listener.close()
        for connection in self._kept:
            connection.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no descriptors, no memory: asked again at once it would say the same
                self._pause()
                return
            if self._is_handed(connection):
                connection.close()
            else:
                self._kept.append(connection)
                self._pause()
                return

    def _is_handed(self, connection: socket.socket) -> bool:
        for taker, end in sorted(self._takers(), key=lambda pair: pair[0].preference):
            if taker.is_open:
                with suppress(OSError):  # it has just ended, takes no more, or has not taken many that it was handed
                    socket.send_fds(end, [MARK], [connection.fileno()])
                    taker.note_handed()
                    return True
        return False

    def _pause(self) -> None:
        loop = asyncio.get_running_loop()
        if self._is_listening:
            loop.remove_reader(self._listener)
            self._is_listening = False
        loop.call_later(PAUSE_S, self.look)
