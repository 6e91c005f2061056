"""How soon galleries are filled from PostgreSQL, beside SQLite, in the clear and with a vault: rows `fill.*`.

    python -m loadtests.bench.search.fill_rows --subjects 100000 --output build/bench/fill.jsonl

A store of drawn subjects is written into a file, and copied into a temporary PostgreSQL; services of both are started
in turns, and what each says in its log of filling its gallery is compared.
"""

import argparse
import re
import secrets
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console

from loadtests.bench.rows import Row, append_rows, compared
from loadtests.bench.search.gallery_model import load_gallery_model
from loadtests.bench.search.search_store import MODEL, write_store
from loadtests.clusters import DURABLE, Cluster, started_cluster, what_is_missing
from loadtests.server import started_server

START_BOUND_S = 600.0
ROWS_AT_ONCE = 10_000
FILLED = re.compile(rf"{MODEL} \S+: (\d+) references in ([\d.]+) s")
TARGET = "<= 1.5"
# Table -> its columns, in an order that their references to each other allow
TABLES = {
    "subjects": "key, tenant, subject_id, created_at",
    "templates": "template_id, subject_key, model, version, embedding, created_at, digest",
    "subject_references": "subject_key, model, version, template_count, embedding, digest",
}


@dataclass(frozen=True)
class Place:
    """Where a store lies. Attributes: data: a data folder. settings: of a service, by their names in small letters."""

    data: Path
    settings: Mapping[str, object]

    def filled_s(self, models: Path) -> float:
        """Start a service, and say how long it filled its gallery."""
        log = self.data.with_suffix(".log")
        log.unlink(missing_ok=True)
        with started_server(self.data, models, log, START_BOUND_S, **self.settings):
            found = FILLED.search(log.read_text(encoding="utf-8"))
        if found is None:
            sys.exit(f"the service does not say in {log} how long it filled its gallery")
        return float(found[2])

    def encrypted(self, models: Path) -> "Place":
        """The same store behind a vault, with every embedding encrypted."""
        key = self.data.with_suffix(".key")
        key.write_text(secrets.token_hex(32), encoding="ascii")
        key.chmod(0o600)
        place = Place(self.data, {**self.settings, "master_key_file": key})
        given = {"data_dir": self.data, "models_dir": models.resolve(), **place.settings}
        environment = {f"MATCHKA_{name.upper()}": str(value) for name, value in given.items()}
        subprocess.run([sys.executable, "-m", "matchka", "vault", "encrypt"], env=environment, check=True)
        return place


def main() -> None:
    """Measure and append the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--subjects", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="for the stores: 5 KB a subject, twice; a temporary one by default")
    parser.add_argument("--output", type=Path, default=Path("build/bench/fill.jsonl"))
    arguments = parser.parse_args()
    if missing := what_is_missing():
        sys.exit(f"not measured: {missing}")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder, started_cluster(DURABLE) as cluster:
        places = written(arguments.models, Path(folder).resolve(), cluster, arguments.subjects)
        append_rows(arguments.output, measured_rows(arguments.models, places, arguments.subjects, arguments.repeats))


def written(models: Path, folder: Path, cluster: Cluster, subjects: int) -> tuple[Place, Place]:
    """The same store in PostgreSQL and in a file."""
    file = Place(folder / "file", {})
    server = Place(folder / "server", {"database_url": cluster.url()})
    write_store(models, file.data, load_gallery_model().draw(subjects, 1)[0])
    with started_server(server.data, models, server.data.with_suffix(".log"), START_BOUND_S, **server.settings):
        pass  # makes the tables
    with (
        closing(sqlite3.connect(file.data / "matchka.sqlite")) as source,
        psycopg.connect(cluster.url().replace("+psycopg", "")) as target,
    ):
        for table, columns in TABLES.items():
            copy_table(source, target, table, columns)
        target.execute("SELECT setval('subjects_key_seq', %s)", (subjects,))
    cluster.execute("VACUUM ANALYZE")  # what the server does by itself within a minute
    return server, file


def copy_table(source: sqlite3.Connection, target: psycopg.Connection[Any], table: str, columns: str) -> None:
    rows = source.execute(f"SELECT {columns} FROM {table}")
    with target.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        while some := rows.fetchmany(ROWS_AT_ONCE):
            for row in some:
                copy.write_row(row)


def measured_rows(models: Path, places: tuple[Place, Place], subjects: int, repeats: int) -> Iterator[Row]:
    """Both in turns, in the clear and then encrypted."""
    console = Console(stderr=True)
    for kind, note in (("clear", "digests checked"), ("vault", "every reference decrypted and so checked")):
        if kind == "vault":
            places = (places[0].encrypted(models), places[1].encrypted(models))
        seconds: tuple[list[float], list[float]] = ([], [])
        for place in places:
            place.filled_s(models)  # so that every later start finds it in the page cache
        for number in range(repeats):
            for place, values in zip(places, seconds, strict=True):
                values.append(place.filled_s(models))
            console.print(f"{kind} {number + 1} of {repeats}: PostgreSQL {seconds[0][-1]} s, SQLite {seconds[1][-1]} s")
        what = f"filling a gallery of {subjects:,} subjects x 256 from PostgreSQL, {kind}"
        reference = f"SQLite, in turns; both on this machine and in its page cache; one tenant; {note}"
        yield compared(f"fill.postgres/{kind}/{subjects}", what, *seconds, "s", reference, TARGET)


if __name__ == "__main__":
    main()
