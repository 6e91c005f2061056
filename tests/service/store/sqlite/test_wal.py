"""What was deleted leaves the write-ahead log, at once or as soon as nobody reads an older state any more."""

import sqlite3
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from matchka.store.store import Store, opened_store
from tests.factories.unit_vectors import unit_vectors

WAIT_S = 120.0
rows = partial(unit_vectors, dim=64)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with opened_store(f"sqlite:///{path}") as opened:
        yield opened


@pytest.fixture
def reader(path: Path) -> Iterator[sqlite3.Connection]:
    """Another process' read, as a backup makes one: the state of its first query until it ends."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    yield connection
    connection.close()


def is_readable(path: Path, row: np.ndarray) -> bool:
    return any(row.tobytes() in file.read_bytes() for file in path.parent.iterdir())


def test_deletion_nobody_stands_in_the_way_of_is_erased_when_it_returns(store: Store, path: Path):
    embeddings = rows(3)
    ids = store.add_templates("t", "ada", "voice", "1", embeddings).template_ids
    store.delete_template("t", ids[0])
    assert not is_readable(path, embeddings[0])
    assert is_readable(path, embeddings[1])
    store.delete_subject("t", "ada")
    assert not any(is_readable(path, row) for row in embeddings)


def test_deletion_under_a_long_read_returns_and_is_erased_when_that_ends(
    store: Store, path: Path, reader: sqlite3.Connection
):
    embeddings = rows(2)
    store.add_templates("t", "ada", "voice", "1", embeddings)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM templates").fetchone()
    store.delete_subject("t", "ada", wait_s=0.2)
    assert store.subjects("t", 10, None) == []
    assert not store.wait_until_erased(0.2)
    assert is_readable(path, embeddings[0])  # the reader may still ask for it
    assert reader.execute("SELECT count(*) FROM templates").fetchone() == (2,)
    reader.execute("COMMIT")
    assert store.wait_until_erased(WAIT_S)
    assert not any(is_readable(path, row) for row in embeddings)


def test_writers_go_on_while_an_erasure_waits_for_a_reader(store: Store, reader: sqlite3.Connection):
    store.add_templates("t", "ada", "voice", "1", rows(1))
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM templates").fetchone()
    store.delete_subject("t", "ada", wait_s=0.0)
    for number in range(5):
        store.add_templates("t", f"s{number}", "voice", "1", rows(1, number))
    assert len(store.subjects("t", 10, None)) == 5
    reader.execute("COMMIT")
    assert store.wait_until_erased(WAIT_S)


def test_deletions_from_threads_under_a_read_are_all_erased(store: Store, path: Path, reader: sqlite3.Connection):
    embeddings = rows(8)
    for number, row in enumerate(embeddings):
        store.add_templates("t", f"s{number}", "voice", "1", row[None])
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM templates").fetchone()
    threads = [threading.Thread(target=store.delete_subject, args=("t", f"s{n}", 0.1)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reader.execute("COMMIT")
    assert store.wait_until_erased(WAIT_S)
    assert not any(is_readable(path, row) for row in embeddings)


def test_deletion_of_a_process_that_ended_before_it_was_erased_is_erased_by_the_next(path: Path):
    embeddings = rows(2)
    with opened_store(f"sqlite:///{path}") as store:
        store.add_templates("t", "ada", "voice", "1", embeddings)
        survivor = sqlite3.connect(path)  # keeps the log from being emptied when the store closes
        survivor.execute("BEGIN")
        survivor.execute("SELECT count(*) FROM templates").fetchone()
        store.delete_subject("t", "ada", wait_s=0.0)
    assert is_readable(path, embeddings[0])
    survivor.rollback()
    with opened_store(f"sqlite:///{path}") as store:
        assert store.wait_until_erased(WAIT_S)
        assert not any(is_readable(path, row) for row in embeddings)
    survivor.close()
