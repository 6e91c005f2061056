"""The servers that are compared: each is paused while another one is measured."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench.serving.load import call_once
from loadtests.bench.serving.plain_handler import FLOAT
from loadtests.client.load import Call
from loadtests.server import SERVE, ServerFailedError, ServerProcess, free_port, start_process

SERVING = "loadtests.bench.serving"
READY_S = 120.0
LITSERVE = Path("build/bench/litserve")  # where `make bench` puts it, apart from what the others import


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
    settings = ", ".join(f"{name.removeprefix('MATCHKA_').lower()} {value}" for name, value in environment)
    return Contestant("matchka", settings or "its defaults", SERVE, environment, takes_own_fields=True)


def process_counts(cores: int) -> list[int]:
    """Numbers of our processes among which the best is searched: few, half of the cores, and all.

    >>> process_counts(1), process_counts(4), process_counts(16)
    ([1], [1, 2, 3, 4], [1, 2, 3, 4, 8, 16])
    """
    return sorted({count for count in (1, 2, 3, 4, cores // 2, cores) if 1 <= count <= cores})


def plain(threads: int, workers: int, graph: str = FLOAT, spins: bool = False) -> Contestant:
    """The plain handler: threads of one run (0: one per core), processes, the graph, whether threads spin."""
    uvicorn = ("-m", "uvicorn", "--no-access-log", "--log-level", "warning", "--workers", str(workers))
    command = (sys.executable, *uvicorn, "--factory", f"{SERVING}.plain_handler:create_app", "--port")
    return Contestant(
        "plain",
        f"{workers} process(es), runs of {threads} thread(s){_spinning(spins)}",
        command,
        (("PLAIN_THREADS", str(threads)), ("PLAIN_GRAPH", graph), ("PLAIN_SPINNING", str(int(spins)))),
    )


def litserve(batch: int, workers: int, threads: int, graph: str = FLOAT, spins: bool = False) -> Contestant:
    """LitServe: requests of one batch (1: no batching) and inference processes; the others as of plain()."""
    if not (LITSERVE / "litserve").is_dir():
        sys.exit("LitServe is not installed; `make bench` does that before it measures")
    path = os.pathsep.join([str(LITSERVE), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = (
        ("LIT_BATCH", batch),
        ("LIT_WORKERS", workers),
        ("PLAIN_THREADS", threads),
        ("PLAIN_GRAPH", graph),
        ("PLAIN_SPINNING", int(spins)),
        ("PYTHONPATH", path),
    )
    settings = f"batches of {batch}, {workers} inference process(es), runs of {threads} thread(s){_spinning(spins)}"
    command = (sys.executable, "-m", f"{SERVING}.litserve_server", "--port")
    return Contestant("litserve", settings, command, tuple((name, str(value)) for name, value in environment))


def _spinning(spins: bool) -> str:
    return " that spin" if spins else ""


@contextmanager
def started(contestant: Contestant, models: Path, folder: Path, probe: Call) -> Iterator[ServerProcess]:
    """Start a contestant; ready, and paused, when the block begins.

    Args:
        contestant: what to start.
        models: folder of bundles.
        folder: its data and log go there.
        probe: a call that it answers 200 once it is ready.
    """
    folders = {"MATCHKA_MODELS_DIR": str(models), "MATCHKA_DATA_DIR": str(folder / "data")}
    environment = dict(contestant.environment) | folders
    server = start_process(contestant.command, free_port(), folder / "log", environment)
    try:
        server.wait_until_ready(READY_S, lambda port: call_once(port, probe) == 200)
        server.pause()
        yield server
    except ServerFailedError as error:
        sys.exit(f"{contestant.name} ({contestant.settings}): {error}")
    finally:
        server.end()
