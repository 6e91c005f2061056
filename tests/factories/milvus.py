"""A Milvus to test with: the embedded one, in a file, or as a server whose port is taken away."""

import socket
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from matchka.gallery.gallery import GallerySpace
from matchka.gallery.milvus.connection import MilvusAddress, MilvusConnection
from matchka.gallery.milvus.galleries import MilvusBackend, MilvusGalleries
from matchka.gallery.milvus.gallery import MilvusGallery

TIMEOUT_S = 60.0  # of a busy machine
MISSING = [name for name in ("pymilvus", "milvus_lite") if find_spec(name) is None]
needs_milvus = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


class LiteGalleries:
    """Galleries in a file that is made with the first of them; one collection for each full dim, for it takes time."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._connection: MilvusConnection | None = None
        self._galleries: dict[int, MilvusGalleries] = {}

    def open(self, full_dim: int) -> MilvusGallery:
        """An empty gallery."""
        if MISSING:
            pytest.skip(f"not installed: {', '.join(MISSING)}")
        if full_dim not in self._galleries:
            galleries = MilvusBackend(self.connection).galleries()
            galleries.begin(GallerySpace("model", str(full_dim), (), full_dim))
            self._galleries[full_dim] = galleries
        return self._galleries[full_dim].of(uuid.uuid4().hex, "model", str(full_dim), full_dim)

    @property
    def connection(self) -> MilvusConnection:
        """To the file."""
        if self._connection is None:
            self._folder = tempfile.TemporaryDirectory()
            self._connection = MilvusConnection(
                MilvusAddress(str(Path(self._folder.name) / "lite.db"), timeout_s=TIMEOUT_S)
            )
        return self._connection

    def close(self) -> None:
        """Close and remove the file, if there is one."""
        if self._connection is not None and self._folder is not None:
            self._connection.close()
            self._folder.cleanup()


@dataclass
class LiteServer:
    """Milvus Lite behind a port, as a server is, that can be taken away and brought back."""

    folder: Path
    port: int = 0
    _server: Any = None
    _database: Any = None
    _deaf: socket.socket | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        from milvus_lite.adapter.grpc.server import start_server_in_thread

        if self._deaf is not None:
            self._deaf.close()
            self._deaf = None
        self._server, self._database, self.port = start_server_in_thread(str(self.folder), port=self.port)

    def stop(self) -> None:
        """Nobody listens from now on."""
        if self._server is not None:
            self._server.stop(grace=None).wait()
            self._database.close()
            self._server = None
        if self._deaf is not None:
            self._deaf.close()
            self._deaf = None

    def hang(self) -> None:
        """From now on connections are taken, and nobody answers."""
        self.stop()
        self._deaf = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self.port = self._deaf.getsockname()[1]

    def connect(self, timeout_s: float = TIMEOUT_S) -> MilvusConnection:
        return MilvusConnection(MilvusAddress(self.uri, timeout_s=timeout_s))


@contextmanager
def lite_server(folder: Path) -> Iterator[LiteServer]:
    """A server until the end of the block."""
    if MISSING:
        pytest.skip(f"not installed: {', '.join(MISSING)}")
    server = LiteServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
