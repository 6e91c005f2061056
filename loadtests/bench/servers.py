"""The servers that are compared: each a process group of its own, stopped while another one is measured."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench.callers import Call, closed_loop

SERVING = "loadtests.bench.serving"
READY_S = 120.0
STOP_S = 10.0
LITSERVE = Path("build/bench/litserve")  # where `make bench` puts it, apart from what the others import
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Contestant:
    """A server and how it is set.

    Attributes:
        name: `matchka`, `plain` or `litserve`.
        settings: what tells it from others of its name, for people.
        command: starts it; its port is appended.
        environment: its settings, beside the model folder.
        takes_own_fields: whether it knows the form fields of our service.
    """

    name: str
    settings: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    takes_own_fields: bool = False


def matchka(*environment: tuple[str, str]) -> Contestant:
    """Our service with its defaults, and what is said otherwise."""
    command = (sys.executable, "-m", "matchka", "serve", "--port")
    settings = ", ".join(f"{name.removeprefix('MATCHKA_').lower()} {value}" for name, value in environment)
    return Contestant("matchka", settings or "its defaults", command, environment, takes_own_fields=True)


def plain(threads: int, workers: int) -> Contestant:
    """The plain handler: threads of one run (0: one per core), server processes."""
    uvicorn = ("-m", "uvicorn", "--no-access-log", "--log-level", "warning", "--workers", str(workers))
    command = (sys.executable, *uvicorn, "--factory", f"{SERVING}.plain_handler:create_app", "--port")
    return Contestant(
        "plain", f"{workers} process(es), runs of {threads} thread(s)", command, (("PLAIN_THREADS", str(threads)),)
    )


def litserve(batch: int, workers: int, threads: int) -> Contestant:
    """LitServe: requests of one batch (1: no batching), inference processes, threads of one run."""
    if not (LITSERVE / "litserve").is_dir():
        sys.exit("LitServe is not installed; `make bench` does that before it measures")
    path = os.pathsep.join([str(LITSERVE), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = (("LIT_BATCH", batch), ("LIT_WORKERS", workers), ("PLAIN_THREADS", threads), ("PYTHONPATH", path))
    settings = f"batches of {batch}, {workers} inference process(es), runs of {threads} thread(s)"
    command = (sys.executable, "-m", f"{SERVING}.litserve_server", "--port")
    return Contestant("litserve", settings, command, tuple((name, str(value)) for name, value in environment))


class Server:
    """A contestant that runs."""

    def __init__(self, contestant: Contestant, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.contestant, self.process, self.port, self.log = contestant, process, port, log

    def cpu_s(self) -> float:
        """CPU seconds that its processes have used so far."""
        return sum(_cpu_s(pid) for pid in _group(self.process.pid))

    def resident_mib(self) -> float:
        """Resident memory of its processes; pages they share count once for each."""
        pages = 0
        for pid in _group(self.process.pid):
            try:
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except OSError:
                continue
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def metrics(self) -> dict[str, float]:
        """What it tells Prometheus: sample with its labels -> value."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def pause(self) -> None:
        """Let it use no core while another one is measured."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Go on."""
        os.killpg(self.process.pid, signal.SIGCONT)

    @contextmanager
    def running(self) -> Iterator["Server"]:
        """Not paused until the end of the block."""
        self.resume()
        try:
            yield self
        finally:
            self.pause()


@contextmanager
def started(contestant: Contestant, models: Path, folder: Path, probe: Call) -> Iterator[Server]:
    """Start a contestant; ready, and paused, when the block begins.

    Args:
        contestant: what to start.
        models: folder of bundles.
        folder: its data and log go there.
        probe: a call that it answers 200 once it is ready.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, log = _free_port(), folder / "log"
    environment = {
        **os.environ,
        **dict(contestant.environment),
        "MATCHKA_MODELS_DIR": str(models),
        "MATCHKA_DATA_DIR": str(folder / "data"),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*contestant.command, str(port)], env=environment, stdout=output, stderr=output, process_group=0
        )
    server = Server(contestant, process, port, log)
    try:
        _wait_until_ready(server, probe)
        server.pause()
        yield server
    finally:
        _stop(process)


def _wait_until_ready(server: Server, probe: Call) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            if closed_loop(server.port, [probe], 1, 0.0, 0.3, server.cpu_s).latencies_s:
                return
        except OSError:
            pass
        time.sleep(0.1)
    tail = server.log.read_text(errors="replace")[-2000:]
    sys.exit(f"{server.contestant.name} ({server.contestant.settings}) does not answer:\n{tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):  # it may have ended by itself
        for sent in (signal.SIGCONT, signal.SIGTERM):
            os.killpg(process.pid, sent)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # workers that outlive their parent
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _group(leader: int) -> list[int]:
    """Every process of a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if int((path / "stat").read_text().rsplit(")", 1)[1].split()[2]) == leader:
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
