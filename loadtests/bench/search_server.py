"""A service under measurement: started, timed until it is ready, asked, stopped or killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

READY_S = 300.0
POLL_S = 0.01
STOP_S = 60.0


@dataclass
class Service:
    """A running service.

    Attributes:
        process: it.
        port: of 127.0.0.1.
        ready_s: seconds from the start of its process to the first 200 of /readyz.
        ready_cpu_s: CPU seconds that it had used by then.
    """

    process: subprocess.Popen[bytes]
    port: int
    ready_s: float
    ready_cpu_s: float

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def version_of(self, model: str) -> str:
        """The version of a served model."""
        with urlopen(f"{self.url}/v1/models", timeout=30) as answer:
            return next(str(found["version"]) for found in json.load(answer)["models"] if found["name"] == model)

    def metric(self, line: str) -> float:
        """The value of a sample of /metrics by its name and labels, 0 where there is none."""
        with urlopen(f"{self.url}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(found.rsplit(" ", 1)[1]) for found in lines if found.startswith(line))

    def resident_bytes(self) -> int:
        """Memory that it has written to and holds; the files it maps are not counted."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return 1024 * int(line.split()[1])
        raise OSError("the kernel does not say what is resident")


@contextmanager
def started_service(models: Path, data: Path, stop_with: signal.Signals = signal.SIGTERM) -> Iterator[Service]:
    """A service on a free port, ready when the block begins, stopped at its end.

    Args:
        models: folder of bundles.
        data: its data folder.
        stop_with: the signal it is stopped with.
    """
    data.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MATCHKA_")}
    environment |= {"MATCHKA_MODELS_DIR": str(models.resolve()), "MATCHKA_DATA_DIR": str(data.resolve())}
    log = data.with_suffix(".log")
    with log.open("wb") as output:
        begun = time.perf_counter()
        command = [sys.executable, "-m", "matchka", "serve", "--port", str(port)]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        _wait_until_ready(process, port, log)
        yield Service(process, port, time.perf_counter() - begun, _cpu_s(process.pid))
    finally:
        process.send_signal(stop_with)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        process.kill()
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(POLL_S)
    sys.exit(f"the service does not become ready:\n{log.read_text(errors='replace')[-2000:]}")


def _cpu_s(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
