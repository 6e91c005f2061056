"""A TCP proxy before a service that fails on purpose: at one enrolment it loses all answers, or cuts the upload."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

HOST = "127.0.0.1"
PIECE = 1 << 16
ENROLMENT = b"POST /v1/enroll"
CUT_AFTER = 600  # bytes of a request: its head, and the beginning of its body


@dataclass
class FaultyProxy:
    """Forwards until the enrolment of a number is sent.

    Attributes:
        target: port of the service.
        listener: where it listens.
        loses_from: the enrolment from which on no answer is forwarded, until heal(); 0: never.
        cuts: the enrolments that break off in their bodies.
        is_losing: set while answers are lost.
        sent: enrolments so far.
    """

    target: int
    listener: socket.socket
    loses_from: int = 0
    cuts: frozenset[int] = frozenset()
    is_losing: threading.Event = field(default_factory=threading.Event)
    sent: int = 0
    connected: list[socket.socket] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.listener.getsockname()[1]}"

    def heal(self) -> None:
        """Forward all that comes from now on; what was lost stays lost."""
        with self.lock:  # a request that was counted before is lost as a whole
            self.loses_from = 0
            self._close_connections()
            self.is_losing.clear()

    def close_connections(self) -> None:
        with self.lock:
            self._close_connections()

    def _close_connections(self) -> None:
        for one in self.connected:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                try:
                    server = socket.create_connection((HOST, self.target))
                except OSError:  # nobody listens there
                    client.close()
                    continue
                with self.lock:
                    self.connected += [client, server]
                self._start(self._requests, client, server)
                self._start(self._answers, server, client)

    def _start(self, target: object, *sockets: socket.socket) -> None:
        thread = threading.Thread(target=target, args=sockets)  # type: ignore[arg-type]
        self.threads.append(thread)
        thread.start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while piece := client.recv(PIECE):
                if piece.startswith(ENROLMENT):
                    with self.lock:
                        self.sent += 1
                        number = self.sent
                        if self.loses_from and number >= self.loses_from and number not in self.cuts:
                            self.is_losing.set()
                    if number in self.cuts:
                        server.sendall(piece[:CUT_AFTER])
                        break
                server.sendall(piece)
        self._end(client, server)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while piece := server.recv(PIECE):
                if not self.is_losing.is_set():
                    client.sendall(piece)
        if not self.is_losing.is_set():
            self._end(server, client)

    def _end(self, *sockets: socket.socket) -> None:
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.close_connections()


@contextmanager
def faulty_proxy(target: int, loses_from: int = 0, cuts: frozenset[int] = frozenset()) -> Iterator[FaultyProxy]:
    """A proxy before the service of a port of this machine."""
    listener = socket.create_server((HOST, 0))
    proxy = FaultyProxy(target, listener, loses_from, cuts)
    serving = threading.Thread(target=proxy.serve)
    serving.start()
    try:
        yield proxy
    finally:
        proxy.end()
        serving.join()
        for thread in proxy.threads:
            thread.join()
        for one in proxy.connected:
            one.close()
