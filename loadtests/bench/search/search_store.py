"""A data folder with any number of drawn subjects, written past the service: enrolling a million would take hours.

    python -m loadtests.bench.search.search_store --models models --data build/bench/store --subjects 1000000

A service makes the tables and is stopped; the rows are written in one transaction with their digests. Each subject has
one template, and its reference is that template.
"""

import argparse
import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from loadtests.bench.search.gallery_model import load_gallery_model
from loadtests.client.caller import Caller
from loadtests.server import started_server

MODEL = "voice"
CREATED = "2026-01-01 00:00:00.000000"
SUBJECTS_AT_ONCE = 1_000  # written together; their pages lie between those of others, as after so many enrolments

Vectors = npt.NDArray[np.float32]


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--subjects", type=int, default=1_000_000)
    arguments = parser.parse_args()
    references, _ = load_gallery_model().draw(arguments.subjects, 1)
    write_store(arguments.models, arguments.data, references)


def write_store(models: Path, data: Path, references: Vectors) -> None:
    """Make a data folder that holds a subject for each reference, named s0000000, s0000001, …

    Args:
        models: folder of bundles.
        data: a folder that does not exist yet.
        references: float32, (subjects, full_dim) of the voice model.
    """
    with started_server(data, models, data.with_suffix(".log")) as server:
        caller = Caller(server.port)
        served = {model["name"]: model for model in caller.get("models").body["models"]}
        caller.close()
    version = served[MODEL]["version"]
    with closing(sqlite3.connect(data / "matchka.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")  # nothing here that could not be drawn again
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("BEGIN")
        starts = range(0, len(references), SUBJECTS_AT_ONCE)
        for start in track(starts, "Writing subjects", console=Console(stderr=True)):
            _write(connection, start, references[start : start + SUBJECTS_AT_ONCE], version)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=WAL")


def _write(connection: sqlite3.Connection, start: int, references: Vectors, version: str) -> None:
    digests = digests_of(references).tolist()
    rows = [
        (start + n + 1, row.tobytes(), digest) for n, (row, digest) in enumerate(zip(references, digests, strict=True))
    ]
    connection.executemany(
        "INSERT INTO subjects (key, tenant, subject_id, created_at) VALUES (?, 'default', ?, ?)",
        [(key, f"s{key - 1:07d}", CREATED) for key, _, _ in rows],
    )
    connection.executemany(
        "INSERT INTO templates (template_id, subject_key, model, version, embedding, created_at, digest)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        # ids without order, as those that the service draws
        [
            (hashlib.md5(b"%d" % key).hexdigest(), key, MODEL, version, data, CREATED, digest)
            for key, data, digest in rows
        ],
    )
    connection.executemany(
        "INSERT INTO subject_references (subject_key, model, version, template_count, embedding, digest)"
        " VALUES (?, ?, ?, 1, ?, ?)",
        [(key, MODEL, version, data, digest) for key, data, digest in rows],
    )


def digests_of(rows: Vectors) -> npt.NDArray[np.int64]:
    """The digest that the store keeps of each embedding: docs/decisions/052-no-snapshots.md has the formula.

    Args: rows: float32, (rows, full_dim).
    """
    words = rows.astype("<f4").view("<u4").astype(np.uint64)
    drawn = hashlib.shake_256(b"matchka reference digest 1").digest(8 * (words.shape[1] + 1))
    factors = np.frombuffer(drawn, "<u8").astype(np.uint64) | np.uint64(1)
    signed: npt.NDArray[np.int64] = (words @ factors[1:] + factors[0]).view(np.int64)
    return signed


if __name__ == "__main__":
    main()
