"""How soon a service with many subjects is ready, and what they take of its memory: rows `start.*` and `memory.*`.

    python -m loadtests.bench.search.start_rows --store build/bench/store --output build/bench/search.jsonl

The store is made by search_store.py where it is not there yet.
"""

import argparse
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from loadtests.bench.rows import Row, alone, append_rows
from loadtests.bench.search.gallery_model import load_gallery_model
from loadtests.bench.search.search_store import MODEL, write_store
from loadtests.server import started_server

REPEATS = 3
START_BOUND_S = 300.0
UNMAPPED = "RssAnon"  # memory that is written to and held; the files it maps are not counted
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
    resident: list[float] = []
    log = store.with_suffix(".log")
    with started_server(store, models, log, START_BOUND_S):
        pass  # reads the file once, so that every later start finds it in the page cache
    for _ in range(REPEATS):
        with started_server(store, models, log, START_BOUND_S) as server:
            clean.append(server.ready_after_s)
            cpu.append(server.cpu_s())
            resident.append(server.memory_mib(UNMAPPED))
            server.kill()
        with started_server(store, models, log, START_BOUND_S) as server:
            killed.append(server.ready_after_s)
    empty, nobody = _empty_starts(models)
    of = f"{size:,} subjects x {full_dim}"
    yield alone(f"start.store/{size}", f"process start to /readyz, {of}, after a clean stop", clean, "s", DRAWN, "<= 6")
    yield alone(f"start.killed/{size}", f"process start to /readyz, {of}, after SIGKILL", killed, "s", DRAWN, "<= 6")
    yield alone(f"start.cpu/{size}", f"CPU seconds of such a start, {of}", cpu, "s", "of all threads together")
    yield alone("start.empty", "process start to /readyz, nobody enrolled", empty, "s", "the same models")
    vector = size * full_dim * BYTES_OF_A_COMPONENT
    ratios = [(mib - min(nobody)) * 2**20 / vector for mib in resident]
    note = f"anonymous resident memory when ready, less {min(nobody):.0f} MiB with nobody; {DRAWN}"
    what = f"resident bytes of a subject / bytes of its stored vector, {of}"
    yield alone(f"memory.subject/{size}", what, ratios, "x", note, "<= 1.25")


def _empty_starts(models: Path) -> tuple[list[float], list[float]]:
    seconds, resident = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(REPEATS):
            data = Path(folder) / f"data{number}"
            with started_server(data, models, data.with_suffix(".log")) as server:
                seconds.append(server.ready_after_s)
                resident.append(server.memory_mib(UNMAPPED))
    return seconds, resident


def _size_of(store: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(f"file:{store / 'matchka.sqlite'}?mode=ro", uri=True)) as connection:
        row = connection.execute(
            "SELECT count(*), max(length(embedding)) FROM subject_references WHERE model = ?", (MODEL,)
        ).fetchone()
    return int(row[0]), int(row[1]) // BYTES_OF_A_COMPONENT


if __name__ == "__main__":
    main()
