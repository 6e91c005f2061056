"""Real server processes for tests."""

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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
    """Starts a server that is stopped at the end of the session."""

    def __call__(
        self, data_dir: Path, port: int | None = None, wait: bool = True, **variables: str
    ) -> RunningServer: ...


def start(models_dir: Path, data_dir: Path, port: int | None, wait: bool, variables: dict[str, str]) -> RunningServer:
    """Start a server with its own environment and log, and wait until it is ready."""
    port = port or free_port()
    log = data_dir.parent / f"{data_dir.name}-{port}.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MATCHKA_")}
    environment |= {"MATCHKA_MODELS_DIR": str(models_dir), "MATCHKA_DATA_DIR": str(data_dir), **variables}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "matchka", "serve", "--port", str(port)],
            env=environment,
            cwd=data_dir.parent,
            stdout=output,
            stderr=output,
        )
    server = RunningServer(process, f"http://127.0.0.1:{port}", data_dir, log)
    if wait:
        server.client(variables.get("MATCHKA_API_KEY")).wait_until_ready(START_S)
    return server


def stop(process: subprocess.Popen[bytes]) -> int:
    """SIGTERM, and wait."""
    if process.poll() is None:
        process.terminate()
    return process.wait(STOP_S)


def free_port() -> int:
    """A port of the loopback interface that nothing listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


def whole_answer(connection: socket.socket) -> bytes:
    """Head and body of one answer; they may come in several pieces."""
    answer = b""
    while b"\r\n\r\n" not in answer or len(answer) < _length(answer):
        piece = connection.recv(65536)
        if not piece:
            break
        answer += piece
    return answer


def _length(answer: bytes) -> int:
    head, _, _ = answer.partition(b"\r\n\r\n")
    announced = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return len(head) + 4 + int(announced.split(b":")[1])
