"""A TCP proxy before a socket of this machine that can stop forwarding: nobody is refused, and nobody is answered."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

PIECE = 1 << 16
POLL_S = 0.05


@dataclass
class StallingProxy:
    """Forwards while `forwards` is set."""

    target: Path
    listener: socket.socket
    forwards: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    connected: list[socket.socket] = field(default_factory=list)
    pumps: list[threading.Thread] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def serve(self) -> None:
        while not self.ended.is_set():
            try:
                client, _ = self.listener.accept()
            except TimeoutError:
                continue
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(self.target))
            except OSError:  # nobody listens there
                client.close()
                server.close()
                continue
            self.connected += [client, server]
            for source, sink in ((client, server), (server, client)):
                self.pumps.append(threading.Thread(target=self._pump, args=(source, sink)))
                self.pumps[-1].start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(PIECE):
                while not self.forwards.wait(POLL_S):
                    if self.ended.is_set():
                        return
                sink.sendall(piece)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        self.ended.set()
        for one in self.connected:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for pump in self.pumps:
            pump.join()
        for one in self.connected:
            one.close()


@contextmanager
def stalling_proxy(target: Path) -> Iterator[StallingProxy]:
    """A proxy before a Unix socket, that forwards at first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(POLL_S)
        proxy = StallingProxy(target, listener)
        proxy.forwards.set()
        thread = threading.Thread(target=proxy.serve)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.ended.set()
            thread.join()
            proxy.end()
