"""Kill the server again and again under traffic, and compare what it holds with what it acknowledged.

    python -m loadtests.torture.durability --kills 200
    python -m loadtests.torture.durability --kills 50 --database postgresql --name durability-postgresql

On PostgreSQL, a temporary one, the database is killed as well, under a server that lives on. Needs a bundle of faces
(make bundles). Exit status 1: a promise was broken; the report says which.
"""

import argparse
import json
import random
import shutil
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from loadtests.client.caller import Caller
from loadtests.server import START_BOUND_S, ServerFailedError, ServerProcess, free_port, start_server, started_server
from loadtests.torture.checks import check_quiet_server
from loadtests.torture.chips import MODEL, ChipPool, draw_chips, embed_chips
from loadtests.torture.journal import Journal
from loadtests.torture.records import RECORDS, Record
from loadtests.torture.scan import Vectors, scan_folder
from loadtests.torture.traffic import Client

CLIENTS = 4
SUBJECTS_OF_EACH = 24  # 96 in all: one answer of identify shows the whole gallery
CHIPS = 320
SHARE_KILLED_WHILE_STARTING = 0.15
LONGEST_TRAFFIC_S = 1.0
PROBES = 12  # held subjects looked for after a start; all of them every tenth time
CONTROLS = 6  # held vectors that a scan must find, or it proves nothing
MOST_NEEDLES = 4000  # deleted vectors looked for in one scan
CODES_SCANNED = 24  # of them as one byte a component, in turn


@dataclass
class Run:
    """One run: its places, and what was counted."""

    port: int
    folder: Path
    models_dir: Path
    rng: random.Random
    journal: Journal
    pool: ChipPool
    record: Record
    compared: Counter[str] = field(default_factory=Counter)
    starts_s: list[float] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)
    server: ServerProcess | None = None  # its latest life

    @property
    def data_dir(self) -> Path:
        """The data folder that all lives of the server share."""
        return self.folder / "data"

    def start(self) -> ServerProcess:
        """Start the server."""
        self.server = start_server(
            self.port, self.data_dir, self.models_dir, self.folder / "server.log", **self.record.settings
        )
        return self.server


def main() -> None:
    """Run, report, and exit with 1 where a promise was broken."""
    arguments = _arguments()
    folder = arguments.out / "work"
    shutil.rmtree(folder, ignore_errors=True)
    with RECORDS[arguments.database]() as record:
        sys.exit(_tortured(arguments, folder, record))


def _tortured(arguments: argparse.Namespace, folder: Path, record: Record) -> int:
    console = Console(stderr=True)
    started = time.monotonic()
    run = _prepare(arguments, folder, record)
    failure = ""
    try:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        ) as progress:
            task = progress.add_task("Killing", total=arguments.kills)
            for number in range(arguments.kills):
                live_and_die(run, number)
                progress.advance(task)
                if run.journal.violations:
                    break
            _last_life(run)
    except ServerFailedError as error:
        failure = str(error)
    finally:
        if run.server is not None:
            run.server.end()
    report = _report(run, arguments, time.monotonic() - started, failure)
    path = arguments.out / f"{arguments.name}.json"
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    console.print_json(json.dumps(report))
    return 1 if report["broken"] else 0


def live_and_die(run: Run, number: int) -> None:
    """Start, check, let clients in, kill, and look at what lies on the disk.

    Raises: ServerFailedError: see ServerProcess.
    """
    server = run.start()
    if run.rng.random() < SHARE_KILLED_WHILE_STARTING:
        time.sleep(run.rng.uniform(0.0, 1.2 * statistics.median(run.starts_s or [1.0])))
        server.kill()
        run.kills["while starting"] += 1
        return
    server.wait_until_ready()
    run.starts_s.append(server.ready_after_s)
    everybody = number % 10 == 9
    probes = CLIENTS * SUBJECTS_OF_EACH if everybody else PROBES
    check_quiet_server(run.port, run.journal, run.pool, run.rng, probes, run.compared)
    scan(run, number, with_controls=True)
    names = sorted(run.journal.subjects)
    is_database_killed = run.rng.random() < run.record.share_killed
    clients = [
        Client(run.port, names[c::CLIENTS], run.journal, run.pool, run.rng.getrandbits(32), is_database_killed)
        for c in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    time.sleep(run.rng.uniform(0.02, LONGEST_TRAFFIC_S))
    if is_database_killed:
        run.record.kill()
        _join(run, clients)
        run.kills["the database"] += 1
        run.record.start()
        server.wait_until_ready(time.monotonic() - server.started + START_BOUND_S)  # without being started again
        server.kill()
        return
    server.kill()
    run.kills["under traffic"] += 1
    _join(run, clients)
    scan(run, number, with_controls=False)


def _join(run: Run, clients: list[Client]) -> None:
    for client in clients:
        client.finish.set()
        client.join()
        run.compared += client.compared
        run.compared["requests"] += client.requests


def scan(run: Run, turn: int, with_controls: bool) -> None:
    """Look for vectors that were deleted in every file, and for some that are held, which must be there."""
    if not run.record.is_scanned:
        return
    absent = sorted(run.journal.absent().items())
    if len(absent) > MOST_NEEDLES:
        absent = run.rng.sample(absent, MOST_NEEDLES)
    needles: dict[str, Vectors] = {}
    for name, chips in absent:
        reference = run.pool.reference(chips)
        needles[name] = reference.astype(np.float32)
        needles[f"{name} of unit length"] = (reference / np.linalg.norm(reference)).astype(np.float32)
    singles = [name for name, chips in absent if len(chips) == 1]
    start = turn * CODES_SCANNED % max(1, len(singles))
    found, size = scan_folder(run.data_dir, needles, (singles + singles)[start : start + CODES_SCANNED])
    for one in found[:5]:
        run.journal.note_violation(f"deleted, and still on disk: {one}")
    run.compared["bytes scanned"] += size
    run.compared["vectors looked for"] += len(needles)
    run.files.update({path.name for path in run.data_dir.rglob("*") if path.is_file()})
    if with_controls:
        _require_controls(run)


def _require_controls(run: Run) -> None:
    held = sorted({chip for sight in run.journal.sights().values() for chip in sight.chips})
    controls = run.rng.sample(held, min(CONTROLS, len(held)))
    needles = {str(chip): run.pool.embeddings[chip].astype(np.float32) for chip in controls}
    found, _ = scan_folder(run.data_dir, needles, [])
    missing = set(needles) - {one.label for one in found}
    if missing:
        run.journal.note_violation(f"the scan is blind: chips {sorted(missing)} are held and it does not find them")
    run.compared["controls found"] += len(needles) - len(missing)


def _last_life(run: Run) -> None:
    """A start after the last kill, all checks once more, and an orderly end."""
    server = run.start()
    server.wait_until_ready()
    run.starts_s.append(server.ready_after_s)
    check_quiet_server(run.port, run.journal, run.pool, run.rng, CLIENTS * SUBJECTS_OF_EACH, run.compared)
    scan(run, 0, with_controls=True)
    status = server.stop()
    if status != 0:
        run.journal.note_violation(f"the server ended with {status} after SIGTERM")
    scan(run, 1, with_controls=True)


def _prepare(arguments: argparse.Namespace, folder: Path, record: Record) -> Run:
    """A models folder with the faces alone, which starts sooner, and what the model makes of each chip."""
    models_dir = folder / "models"
    models_dir.mkdir(parents=True)
    (models_dir / MODEL).symlink_to((arguments.models_dir / MODEL).resolve())
    with started_server(folder / "empty", models_dir, folder / "embedding.log") as server:
        caller = Caller(server.port)
        pool = embed_chips(caller, draw_chips(arguments.samples, arguments.seed), CHIPS)
        caller.close()
    names = [f"s{number:03d}" for number in range(CLIENTS * SUBJECTS_OF_EACH)]
    return Run(free_port(), folder, models_dir, random.Random(arguments.seed), Journal(names, CHIPS), pool, record)


def _report(run: Run, arguments: argparse.Namespace, seconds: float, failure: str) -> dict[str, object]:
    log = (run.folder / "server.log").read_text(encoding="utf-8", errors="replace")
    if "Traceback" in log:
        run.journal.note_violation("the server's log holds a traceback")
    starts = sorted(run.starts_s) or [float("nan")]
    return {
        "seed": arguments.seed,
        "kills": sum(run.kills.values()),
        "database": arguments.database,
        "killed": dict(run.kills),
        "seconds": round(seconds, 1),
        "writes_acknowledged": dict(run.journal.acknowledged),
        "writes_unanswered": dict(run.journal.unanswered),
        "compared": dict(run.compared),
        "files": sorted(run.files),
        "ready_after_s": {"median": round(statistics.median(starts), 2), "longest": round(starts[-1], 2)},
        "broken": [*run.journal.violations, *([failure] if failure else [])],
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--samples", type=Path, default=Path("build/samples/face"))
    parser.add_argument("--out", type=Path, default=Path("build/torture"))
    parser.add_argument("--database", choices=tuple(RECORDS), default="sqlite")
    parser.add_argument("--name", default="durability", help="of the report")
    arguments = parser.parse_args()
    arguments.out = arguments.out.resolve()
    return arguments


if __name__ == "__main__":
    main()
