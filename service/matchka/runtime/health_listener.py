"""A second server with a thread and an event loop of its own: health checks are answered under overload."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socket import socket
from typing import Final

import uvicorn

STOP_S: Final = 5.0


@contextmanager
def serving_beside(config: uvicorn.Config, listener: socket) -> Iterator[None]:
    """Serve on a bound socket until the end of the block."""
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="health", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(STOP_S)
