"""A server process: started, waited for, looked at from outside, paused, stopped or killed."""

import http.client
import math
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
START_BOUND_S = 60.0  # a start that takes longer is not clean, however busy the machine
STOP_BOUND_S = 45.0
ORPHANS_BOUND_S = 10.0  # the kernel kills them at once, and takes their memory back
POLL_S = 0.01
LOG_LINES = 20  # of the log's end, in errors
FIRST_PORT = 10_000  # below it services have their places
EPHEMERAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST_EPHEMERAL_PORT = 32_768  # where the system does not say
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
SERVE = (sys.executable, "-m", "matchka", "serve", "--port")
ENDS_WITH_PARENT = Path(__file__).with_name("ends_with_parent.py")


class ServerFailedError(Exception):
    """The process did what it must not: it did not start, died by itself or left something behind."""


@dataclass(eq=False)
class ServerProcess:
    """One life of a server, the leader of a process group of its own.

    Attributes:
        process: it.
        port: of the loopback interface.
        log: where its output goes.
        started: time.monotonic() at its start.
        ready_after_s: seconds from then until it was ready; not a number before.
    """

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    started: float
    ready_after_s: float = math.nan

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.port}"

    def wait_until_ready(
        self, bound_s: float = START_BOUND_S, is_ready: Callable[[int], bool] = lambda port: is_status_200(port)
    ) -> None:
        """Ask until it is ready; a process that has ended is noticed at once.

        Args:
            bound_s: seconds from its start.
            is_ready: asks the server on a port; /readyz answers 200 by default.

        Raises: ServerFailedError: the process ended, or took longer than the bound.
        """
        while time.monotonic() - self.started < bound_s:
            if self.process.poll() is not None:
                raise ServerFailedError(
                    f"the server ended with {self.process.returncode} at its start:\n{self.log_tail()}"
                )
            if is_ready(self.port):
                self.ready_after_s = time.monotonic() - self.started
                return
            time.sleep(POLL_S)
        raise ServerFailedError(f"the server was not ready after {bound_s:g} s:\n{self.log_tail()}")

    def kill(self) -> None:
        """SIGKILL to the process alone; those that it started have to end with it, in a moment.

        Raises: ServerFailedError: it was dead already, or another process of its group outlived it.
        """
        if self.process.poll() is not None:
            raise ServerFailedError(f"the server died by itself with {self.process.returncode}:\n{self.log_tail()}")
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_BOUND_S)
        killed = time.monotonic()
        while (left := _group(self.process.pid)) and time.monotonic() - killed < ORPHANS_BOUND_S:
            time.sleep(POLL_S)
        if left:
            raise ServerFailedError(f"processes outlived the server: {left}")

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(STOP_BOUND_S)

    def end(self) -> None:
        """Leave nothing of it, whatever state it is in: it is asked to stop, then its whole group is killed."""
        with suppress(ProcessLookupError):  # it may have ended by itself
            for sent in (signal.SIGCONT, signal.SIGTERM):
                os.killpg(self.process.pid, sent)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_BOUND_S)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @contextmanager
    def running(self) -> Iterator["ServerProcess"]:
        """Not paused until the end of the block."""
        os.killpg(self.process.pid, signal.SIGCONT)
        try:
            yield self
        finally:
            self.pause()

    def pause(self) -> None:
        """Let it use no core while another one is measured."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def cpu_s(self) -> float:
        """CPU seconds that the processes of its group have used so far."""
        return sum(_cpu_s(pid) for pid in _group(self.process.pid))

    def memory_mib(self, which: str = "VmRSS") -> float:
        """Memory of the process by its line in /proc: VmRSS, RssAnon or VmHWM (peak); 0 for one that is gone."""
        try:
            lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines()
        except OSError:
            return 0.0
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{which}:")), 0.0)

    def forget_peak(self) -> None:
        """Let the peak of its resident memory begin again from what it is now (Linux)."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5", encoding="ascii")

    def metrics(self) -> dict[str, float]:
        """What it tells Prometheus: sample with its labels -> value."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def log_tail(self) -> str:
        """The last lines it wrote."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:])


def start_process(
    command: Sequence[str], port: int, log: Path, environment: Mapping[str, str], cwd: Path | None = None
) -> ServerProcess:
    """Start any server in a process group of its own; MATCHKA_ variables of this process do not reach it.

    On Linux it is asked to stop when the thread that starts it ends, so that a killed run leaves no server behind.

    Args:
        command: starts it; the port is appended.
        port: to listen on.
        log: its output is added there.
        environment: further variables.
        cwd: the folder it runs in.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MATCHKA_")}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", ENDS_WITH_PARENT, str(os.getpid()), *command, str(port)],
            env={**inherited, **environment},
            cwd=cwd,
            stdout=output,
            stderr=output,
            process_group=0,
        )
    return ServerProcess(process, port, log, time.monotonic())


def start_server(port: int, data_dir: Path, models_dir: Path, log: Path, **settings: object) -> ServerProcess:
    """Start `matchka serve`, in one process unless told otherwise: what is looked at from outside is the leader.

    Args:
        port: to listen on.
        data_dir: its data folder; it runs in the folder around it.
        models_dir: folder of bundles.
        log: its output is added there.
        settings: MATCHKA_ variables by their names in small letters.
    """
    data_dir = data_dir.resolve()
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    given = {"processes": 1, "data_dir": data_dir, "models_dir": models_dir.resolve(), **settings}
    environment = {f"MATCHKA_{name.upper()}": str(value) for name, value in given.items()}
    return start_process(SERVE, port, log, environment, cwd=data_dir.parent)


@contextmanager
def started_server(
    data_dir: Path, models_dir: Path, log: Path, bound_s: float = START_BOUND_S, **settings: object
) -> Iterator[ServerProcess]:
    """A server on a free port, ready within `bound_s` when the block begins and gone at its end; see start_server."""
    server = start_server(free_port(), data_dir, models_dir, log, **settings)
    try:
        server.wait_until_ready(bound_s)
        yield server
    finally:
        server.end()


def free_port() -> int:
    """A port of the loopback interface that nothing listens on.

    Below those that the system gives to outgoing connections: one of them might have it before the server does.
    """
    while True:
        port = random.SystemRandom().randrange(FIRST_PORT, _first_ephemeral_port())
        with socket.socket() as taken, suppress(OSError):
            taken.bind((HOST, port))
            return port


def status_of(port: int, path: str, timeout_s: float = 5.0) -> int:
    """The status of a GET; 0 where nobody answers."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def is_status_200(port: int) -> bool:
    """Whether /readyz says that the server is ready."""
    return status_of(port, "/readyz") == 200


def _first_ephemeral_port() -> int:
    with suppress(OSError):
        first = int(EPHEMERAL_PORTS.read_text(encoding="ascii").split()[0])
        if first > FIRST_PORT:
            return first
    return FIRST_EPHEMERAL_PORT


def _group(leader: int) -> list[int]:
    """Every process of a process group that has not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, _, group, *_ = (path / "stat").read_text().rsplit(")", 1)[1].split()
            if int(group) == leader and state != "Z":
                found.append(int(path.name))
        except OSError:
            continue  # it ended meanwhile
    return found


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
