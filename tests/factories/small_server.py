"""A real server in a thread of this process, with one small bundle."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from matchka.app import create_app
from matchka.client import Client
from matchka.settings import Settings, read_settings


def small_settings(folder: Path, **changes: object) -> Settings:
    """Settings for one bundle folder `models` and one data folder beside it."""
    given = {"models_dir": folder / "models", "data_dir": folder / "data"}
    return read_settings({}, **{**given, **changes})


@dataclass(frozen=True)
class SmallServer:
    """A real server in a thread of this process."""

    url: str
    settings: Settings
    app: FastAPI

    def client(self, api_key: str | None = None, timeout_s: float = 20.0) -> Client:
        return Client(self.url, api_key, timeout_s)


@contextlib.contextmanager
def serving(settings: Settings, wait: bool = True) -> Iterator[SmallServer]:
    """Serve an application on a free port until the end of the block, which begins when it is ready; or answers."""
    app = create_app(settings)
    config = uvicorn.Config(app, port=0, log_level="critical", ws="none", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server ended before it started"
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        running = SmallServer(f"http://127.0.0.1:{port}", settings, app)
        key = settings.api_key.get_secret_value() if settings.api_key else None
        if wait:
            running.client(key).wait_until_ready(20)
        yield running
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()
