"""How soon a service with many subjects is ready, and what they take of its memory: rows `start.*` and `memory.*`.

    python -m loadtests.bench.search.start_rows --store build/bench/store --output build/bench/search.jsonl

The store is made by search_store.py where it is not there yet.
"""

import argparse
import signal
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from loadtests.bench.rows import Row, alone, append_rows
from loadtests.bench.search.gallery_model import load_gallery_model
from loadtests.bench.search.search_store import MODEL, write_store
from loadtests.bench.search_server import started_service

REPEATS = 3
BYTES_OF_A_COMPONENT = 4
DRAWN = "drawn subjects, one template each; SQLite in the data folder, read before, so in the page cache"


def main() -> None:
    """Measure and append the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--store", type=Path, default=Path("build/bench/store"))
    parser.add_argument("--subjects", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path, default=Path("build/bench/search.jsonl"))
    arguments = parser.parse_args()
    if not (arguments.store / "matchka.sqlite").is_file():
        write_store(arguments.models, arguments.store, load_gallery_model().draw(arguments.subjects, 1)[0])
    append_rows(arguments.output, measured_rows(arguments.models, arguments.store))


def measured_rows(models: Path, store: Path) -> Iterator[Row]:
    """Ready after a clean stop, after SIGKILL and with nobody enrolled; memory beyond a service with nobody."""
    size, full_dim = _size_of(store)
    clean: list[float] = []
    killed: list[float] = []
    cpu: list[float] = []
    resident: list[int] = []
    with started_service(models, store):
        pass  # reads the file once, so that every later start finds it in the page cache
    for _ in range(REPEATS):
        with started_service(models, store, stop_with=signal.SIGKILL) as service:
            clean.append(service.ready_s)
            cpu.append(service.ready_cpu_s)
            resident.append(service.resident_bytes())
        with started_service(models, store) as service:
            killed.append(service.ready_s)
    empty, nobody = _empty_starts(models)
    of = f"{size:,} subjects x {full_dim}"
    yield alone(f"start.store/{size}", f"process start to /readyz, {of}, after a clean stop", clean, "s", DRAWN, "<= 6")
    yield alone(f"start.killed/{size}", f"process start to /readyz, {of}, after SIGKILL", killed, "s", DRAWN, "<= 6")
    yield alone(f"start.cpu/{size}", f"CPU seconds of such a start, {of}", cpu, "s", "of all threads together")
    yield alone("start.empty", "process start to /readyz, nobody enrolled", empty, "s", "the same models")
    vector = size * full_dim * BYTES_OF_A_COMPONENT
    ratios = [(bytes_ - min(nobody)) / vector for bytes_ in resident]
    note = f"anonymous resident memory when ready, less {min(nobody) / 2**20:.0f} MiB with nobody; {DRAWN}"
    what = f"resident bytes of a subject / bytes of its stored vector, {of}"
    yield alone(f"memory.subject/{size}", what, ratios, "x", note, "<= 1.25")


def _empty_starts(models: Path) -> tuple[list[float], list[int]]:
    seconds, resident = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(REPEATS):
            with started_service(models, Path(folder) / f"data{number}") as service:
                seconds.append(service.ready_s)
                resident.append(service.resident_bytes())
    return seconds, resident


def _size_of(store: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(f"file:{store / 'matchka.sqlite'}?mode=ro", uri=True)) as connection:
        row = connection.execute(
            "SELECT count(*), max(length(embedding)) FROM subject_references WHERE model = ?", (MODEL,)
        ).fetchone()
    return int(row[0]), int(row[1]) // BYTES_OF_A_COMPONENT


if __name__ == "__main__":
    main()
