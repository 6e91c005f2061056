"""Real server processes for tests, by the launcher of the load tests."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from loadtests.server import ServerProcess, free_port, start_server
from matchka.client import Client

START_S = 120.0
STOP_S = 40.0


@dataclass
class RunningServer:
    """A real server process on a free port, with its own data folder."""

    process: subprocess.Popen[bytes]
    url: str
    data_dir: Path
    log: Path

    def client(self, api_key: str | None = None) -> Client:
        return Client(self.url, api_key)


class StartServer(Protocol):
    """Starts a server that is stopped at the end of the test."""

    def __call__(
        self, data_dir: Path, port: int | None = None, wait: bool = True, **variables: str
    ) -> RunningServer: ...


def start(
    models_dir: Path, data_dir: Path, port: int | None = None, wait: bool = True, variables: Mapping[str, str] = {}
) -> RunningServer:
    """Start a server with its own environment and log, and wait until it is ready.

    Raises: ServerFailedError: it did not become ready; the end of its log is in the message.
    """
    port = port or free_port()
    log = data_dir.parent / f"{data_dir.name}-{port}.log"
    settings = {name.removeprefix("MATCHKA_").lower(): value for name, value in variables.items()}
    server = start_server(port, data_dir, models_dir, log, **settings)
    if wait:
        wait_until_ready(server)
    return RunningServer(server.process, server.url, data_dir, log)


def wait_until_ready(server: ServerProcess) -> None:
    """Wait; a server that does not become ready is not left behind."""
    try:
        server.wait_until_ready(START_S)
    except BaseException:
        server.end()
        raise


def stop(process: subprocess.Popen[bytes]) -> int:
    """SIGTERM, and wait."""
    if process.poll() is None:
        process.terminate()
    return process.wait(STOP_S)
