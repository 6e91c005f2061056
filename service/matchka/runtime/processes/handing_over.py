"""Connections are accepted by the parent and handed to its children, each to the one with fewest (decisions/177)."""

import asyncio
import errno
import socket
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

HANDED: Final = b"c"  # a descriptor travels with at least one byte
ENDED: Final = b"e"  # goes back for each connection that has ended
READ_BYTES: Final = 1 << 16
ACCEPTED_AT_ONCE: Final = 64  # before anything else of the parent's has its turn
PAUSE_S: Final = 0.05  # where no child takes a connection, or the system has no descriptors left


class HandedConnections(socket.socket):
    """The child's end: a listener to asyncio, whose connections the parent has accepted.

    Args: file: descriptor of the end.
    """

    def __init__(self, file: int) -> None:
        super().__init__(fileno=file)
        self._untold = 0  # connections that have ended

    def accept(self) -> tuple[socket.socket, object]:
        """The next connection, and its peer's address.

        Raises:
            BlockingIOError: there is none now.
            ConnectionAbortedError: its peer has gone.
        """
        data, files, *_ = socket.recv_fds(self, len(HANDED), 1)
        if not data:
            raise BlockingIOError
        if not files:
            self.note_ended()
            raise ConnectionAbortedError(errno.ECONNABORTED, "no descriptor came")
        connection = _Connection(self, files[0])
        try:
            return connection, connection.getpeername()
        except OSError as error:
            connection.close()
            raise ConnectionAbortedError(*error.args) from error

    def listen(self, backlog: int = 0) -> None:
        """The parent listens."""

    def note_ended(self) -> None:
        """Tell the parent that a connection has ended; later where it does not take that now."""
        self._untold += 1
        with suppress(OSError):
            self._untold -= self.send(ENDED * self._untold)


class _Connection(socket.socket):
    """One that was handed over."""

    def __init__(self, listener: HandedConnections, file: int) -> None:
        # asyncio sends small answers at once (TCP_NODELAY) only where the protocol is named
        super().__init__(proto=socket.IPPROTO_TCP, fileno=file)
        self._listener = listener

    def close(self) -> None:
        """End it."""
        if self.fileno() >= 0:
            self._listener.note_ended()
        super().close()


class Hand:
    """The parent's end of HandedConnections, which counts those that are open.

    Args: end: the socket.

    Attributes: turn: when it was last given one; among equals those go first that wait for longest.
    """

    def __init__(self, end: socket.socket) -> None:
        self.turn = 0
        self._end = end
        self._end.setblocking(False)
        self._open = 0

    def count(self) -> int:
        """Connections that the child has now."""
        with suppress(OSError):
            while ended := self._end.recv(READ_BYTES):
                self._open -= len(ended)
        return self._open

    def is_given(self, connection: socket.socket) -> bool:
        """Hand a connection over; whether the child may take it: it has not ended, and not many wait for it."""
        try:
            socket.send_fds(self._end, [HANDED], [connection.fileno()])
        except OSError:
            return False
        self._open += 1
        return True

    def close(self) -> None:
        """The child has ended."""
        self._end.close()


class Front:
    """Accepts the connections of a listener and hands them over, in the event loop of the parent.

    While no child takes any they wait in the system's queue of the listener, and are lost with no child.

    Args:
        listener: bound and listening.
        hands: of each child that takes connections whether it is loaded, and its end; others have none while one is.
    """

    def __init__(self, listener: socket.socket, hands: Callable[[], Iterable[tuple[bool, Hand]]]) -> None:
        self._listener = listener
        self._listener.setblocking(False)
        self._hands = hands
        self._kept: deque[socket.socket] = deque()  # accepted, and taken by no child yet
        self._turn = 0
        self._is_listening = False
        self._is_closed = False
        self._again: asyncio.TimerHandle | None = None

    def look(self) -> None:
        """Begin to accept where a child takes connections, or stop; to be called when children change."""
        has_hands = not self._is_closed and any(True for _ in self._hands())
        while has_hands and self._kept and self._is_handed(self._kept[0]):
            self._kept.popleft().close()
        wants = has_hands and not self._kept
        if wants and not self._is_listening:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)
        elif self._is_listening and not wants:
            asyncio.get_running_loop().remove_reader(self._listener)
        self._is_listening = wants
        if has_hands and self._kept:  # they take none yet
            self._look_later()

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
        hands = [(not is_loaded, hand.count(), hand) for is_loaded, hand in self._hands()]
        for *_, hand in sorted(hands, key=lambda ranked: (*ranked[:2], ranked[2].turn)):
            if hand.is_given(connection):
                hand.turn = self._turn = self._turn + 1
                return True
        return False

    def _pause(self) -> None:
        loop = asyncio.get_running_loop()
        if self._is_listening:
            loop.remove_reader(self._listener)
            self._is_listening = False
        self._look_later()

    def _look_later(self) -> None:
        if self._again is None:
            self._again = asyncio.get_running_loop().call_later(PAUSE_S, self._look_again)

    def _look_again(self) -> None:
        self._again = None
        self.look()
