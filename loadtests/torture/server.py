"""The server process under torture: started, waited for, killed, and looked at from outside."""

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

START_BOUND_S = 60.0  # a start that takes longer is not clean, however busy the machine
STOP_BOUND_S = 45.0
POLL_S = 0.01
HOST = "127.0.0.1"


class ServerFailedError(Exception):
    """The process did what it must not: it did not start, died by itself or left something behind."""


@dataclass
class ServerProcess:
    """One life of the server on a port and a data folder that outlive it."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    started: float
    ready_after_s: float = float("nan")

    def wait_until_ready(self, bound_s: float = START_BOUND_S) -> None:
        """Ask /readyz until it answers 200.

        Raises: ServerFailedError: the process ended, or took longer than the bound.
        """
        while time.monotonic() - self.started < bound_s:
            if self.process.poll() is not None:
                raise ServerFailedError(
                    f"the server ended with {self.process.returncode} at its start:\n{self.log_tail()}"
                )
            if status_of(self.port, "/readyz") == 200:
                self.ready_after_s = time.monotonic() - self.started
                return
            time.sleep(POLL_S)
        raise ServerFailedError(f"the server was not ready after {bound_s:g} s:\n{self.log_tail()}")

    def kill(self) -> None:
        """SIGKILL.

        Raises: ServerFailedError: it was dead already, or a child outlived it.
        """
        if self.process.poll() is not None:
            raise ServerFailedError(f"the server died by itself with {self.process.returncode}:\n{self.log_tail()}")
        children = children_of(self.process.pid)
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_BOUND_S)
        left = [child for child in children if Path(f"/proc/{child}").exists()]
        if left:
            raise ServerFailedError(f"children outlived the server: {left}")

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(STOP_BOUND_S)

    def memory_mib(self, which: str = "VmRSS") -> float:
        """Resident memory now (VmRSS) or at its peak (VmHWM); 0 for a process that is gone."""
        try:
            lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines()
        except OSError:
            return 0.0
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{which}:")), 0.0)

    def forget_peak(self) -> None:
        """Let the peak of its resident memory begin again from what it is now (Linux)."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5", encoding="ascii")

    def log_tail(self) -> str:
        """The last lines it wrote."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])


def start_server(port: int, data_dir: Path, models_dir: Path, log: Path, **settings: object) -> ServerProcess:
    """Start `matchka serve`; its output is added to the log.

    Args:
        port: to listen on.
        data_dir: its data folder.
        models_dir: folder of bundles.
        log: where its output goes.
        settings: MATCHKA_ variables by their names in small letters.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MATCHKA_")}
    given = {"data_dir": data_dir, "models_dir": models_dir, **settings}
    environment |= {f"MATCHKA_{name.upper()}": str(value) for name, value in given.items()}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "matchka", "serve", "--port", str(port)],
            env=environment,
            stdout=output,
            stderr=output,
        )
    return ServerProcess(process, port, log, time.monotonic())


def free_port() -> int:
    """A port of the loopback interface that nothing listens on.

    Below those that systems give to outgoing connections: one of a flood's might have it before the server does.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as taken:
            try:
                taken.bind((HOST, port))
            except OSError:
                continue
        return port


def status_of(port: int, path: str, timeout_s: float = 5.0) -> int:
    """The status of a GET; 0 where nobody answers."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def children_of(pid: int) -> list[int]:
    """Process ids of the children of all threads of a process."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in thread.read_text(encoding="ascii").split()]
    return found
