"""A database that is full, damaged or not to be had: a named error, never another vector than was stored."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from matchka.api.problems import STATUS_AND_CODE
from matchka.errors import MatchkaError, StorageDamagedError, StorageFailedError, StorageFullError, StoreError
from matchka.store.database_errors import as_matchka_error
from matchka.store.integrity import page_check as intact
from matchka.store.store import Store, opened_store
from tests.factories.unit_vectors import unit_vectors

DIM = 24


def unit(seed: int) -> np.ndarray:
    return unit_vectors(1, seed, dim=DIM)[0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Forty subjects of two templates each, closed."""
    path = tmp_path / "store.sqlite"
    with opened_store(f"sqlite:///{path}") as store:
        for number in range(40):
            store.add_templates("t", f"s{number}", "voice", "1", np.stack([unit(2 * number), unit(2 * number + 1)]))
    return path


def mean_of(number: int) -> np.ndarray:
    return (unit(2 * number).astype(float) + unit(2 * number + 1).astype(float)) / 2


def overwrite(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


def flip_a_bit(data: bytes, byte: int = 5) -> bytes:
    return data[:byte] + bytes([data[byte] ^ 1]) + data[byte + 1 :]


def stored_reference(path: Path, number: int) -> bytes:
    connection = sqlite3.connect(path)
    (found,) = connection.execute(
        "SELECT embedding FROM subject_references JOIN subjects ON key = subject_key WHERE subject_id = ?",
        (f"s{number}",),
    ).fetchone()
    connection.close()
    return bytes(found)


def test_reference_with_a_flipped_bit_is_refused_wherever_it_is_read(path: Path):
    reference = stored_reference(path, 7)
    np.testing.assert_allclose(np.frombuffer(reference, "<f4"), mean_of(7), atol=1e-7)
    overwrite(path, reference, flip_a_bit(reference))
    with opened_store(f"sqlite:///{path}") as store:
        np.testing.assert_allclose(store.reference("t", "s8", "voice", "1").embedding, mean_of(8), atol=1e-7)
        with pytest.raises(StorageDamagedError) as refused:
            store.reference("t", "s7", "voice", "1")
        assert refused.value.value == "the reference of s7"
        with pytest.raises(StorageDamagedError):
            [batch.rows() for batch in store.all_references("voice", "1")]


def test_template_with_a_flipped_bit_never_becomes_part_of_a_reference(path: Path):
    overwrite(path, unit(14).tobytes(), flip_a_bit(unit(14).tobytes()))
    with opened_store(f"sqlite:///{path}") as store:
        before = store.reference("t", "s7", "voice", "1")
        with pytest.raises(StorageDamagedError):
            store.add_templates("t", "s7", "voice", "1", unit(99)[None])
        after = store.reference("t", "s7", "voice", "1")
        np.testing.assert_array_equal(before.embedding, after.embedding)
        assert len(store.subject("t", "s7").templates) == 2
        store.delete_subject("t", "s7")  # what is damaged can still be deleted
        assert store.add_templates("t", "s7", "voice", "1", unit(99)[None]).reference.template_count == 1


@pytest.mark.parametrize("checked_whole_bytes", [0, intact.CHECKED_WHOLE_BYTES], ids=["large", "small"])
def test_subject_that_bears_the_name_of_another_is_found(
    path: Path, monkeypatch: pytest.MonkeyPatch, checked_whole_bytes: int
):
    monkeypatch.setattr(intact, "CHECKED_WHOLE_BYTES", checked_whole_bytes)
    content = path.read_bytes()
    found = 0
    for at in (at for at in range(len(content)) if content.startswith(b"ts12", at)):
        path.write_bytes(content[:at] + b"ts13" + content[at + 4 :])
        with opened_store(f"sqlite:///{path}") as store:
            try:
                store.require_sound_pages()
            except StorageDamagedError:
                found += 1
                continue
            # a copy that nothing refers to any more, where SQLite moved rows between pages
            np.testing.assert_allclose(store.reference("t", "s12", "voice", "1").embedding, mean_of(12), atol=1e-7)
    assert found == 2  # the row and its index
    path.write_bytes(content)
    with opened_store(f"sqlite:///{path}") as store:
        store.require_sound_pages()


def answers(store: Store) -> list[tuple[str, np.ndarray]]:
    """All that a gallery is filled with, and what verify reads."""
    found: list[tuple[str, np.ndarray]] = []
    names = {summary.subject_id for summary in store.subjects("t", 100, None)}
    for batch in store.all_references("voice", "1"):
        keys = batch.keys.tolist()
        by_key = store.references_of_keys("t", keys, "voice", "1")
        found += [(by_key[key].subject_id, row) for key, row in zip(keys, batch.rows(), strict=True)]
    found += [(name, store.reference("t", name, "voice", "1").embedding) for name in sorted(names)]
    return found


def test_database_with_overwritten_bytes_anywhere_is_refused_or_answers_as_before(path: Path):
    expected = {f"s{number}": mean_of(number) for number in range(40)}
    content = path.read_bytes()
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(120):
        size = int(rng.choice([1, 4, 64, 4096]))
        at = int(rng.integers(0, len(content) - size))
        path.write_bytes(content[:at] + rng.bytes(size) + content[at + size :])
        for extra in ("-wal", "-shm"):  # of the try before
            path.with_name(path.name + extra).unlink(missing_ok=True)
        try:
            with opened_store(f"sqlite:///{path}") as store:
                store.require_sound_pages()
                found = answers(store)
        except (StorageDamagedError, StoreError, SQLAlchemyError, ValueError):  # the last: a time that is none
            refused += 1
            continue
        assert len(found) == 80
        for name, embedding in found:
            np.testing.assert_allclose(embedding, expected[name], atol=1e-7)
    assert 40 < refused < 120  # pages hold free space, where nothing is lost


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.9])
def test_database_that_was_cut_short_is_refused(path: Path, kept: float):
    content = path.read_bytes()
    path.write_bytes(content[: round(kept * len(content))])
    with pytest.raises((StoreError, StorageDamagedError)) as refused, opened_store(f"sqlite:///{path}") as store:
        store.require_sound_pages()
    assert "backup" in refused.value.remedy


def test_new_database_gets_its_name_with_its_first_page(tmp_path: Path):
    path = tmp_path / "new.sqlite"
    path.with_name("new.sqlite.new").write_bytes(b"of a process that was killed while it made one")
    with opened_store(f"sqlite:///{path}") as store:
        store.add_templates("t", "ada", "voice", "1", unit(0)[None])
    assert not path.with_name("new.sqlite.new").exists()
    with opened_store(f"sqlite:///{path}") as store:
        assert store.reference("t", "ada", "voice", "1").template_count == 1


def failing(connection: sqlite3.Connection, statement: str) -> sqlite3.Error:
    with pytest.raises(sqlite3.Error) as caught:
        connection.execute(statement)
    return caught.value


def full(path: Path) -> sqlite3.Error:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA max_page_count=1")
    return failing(connection, "CREATE TABLE more AS SELECT zeroblob(100000)")


def read_only(path: Path) -> sqlite3.Error:
    return failing(sqlite3.connect(f"file:{path}?mode=ro", uri=True), "DELETE FROM templates")


def absent(path: Path) -> sqlite3.Error:
    return failing(sqlite3.connect(f"file:{path}.not?mode=ro", uri=True), "SELECT 1 FROM templates")


def no_database(path: Path) -> sqlite3.Error:
    path.write_bytes(b"no database at all" * 1000)
    return failing(sqlite3.connect(path), "SELECT 1 FROM templates")


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("make", "expected"),
    [(full, StorageFullError), (read_only, StorageFailedError), (no_database, StorageDamagedError)],
)
def test_database_error_of_sqlite_becomes_the_error_that_says_what_to_do(
    path: Path, make: Callable[[Path], sqlite3.Error], expected: type[MatchkaError]
):
    found = as_matchka_error(DBAPIError("statement", {}, make(path)))
    assert type(found) is expected
    assert expected in STATUS_AND_CODE
    assert found.remedy.endswith(".")
    assert str(found.value).startswith("SQLITE_")


class PostgresqlError(Exception):
    """What a driver of PostgreSQL raises; its states are in the manual, appendix A."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("53100", StorageFullError),
        ("53300", StorageFailedError),
        ("08006", StorageFailedError),
        ("57P01", StorageFailedError),
        ("25006", StorageFailedError),
        ("XX001", StorageDamagedError),
        ("42P01", type(None)),  # no such table: the program's own fault
    ],
)
def test_database_error_of_postgresql_becomes_the_error_that_says_what_to_do(state: str, expected: type):
    assert type(as_matchka_error(OperationalError("statement", {}, PostgresqlError(state)))) is expected


def test_database_error_about_the_statement_is_no_fault_of_the_disk(path: Path):
    connection = sqlite3.connect(path)
    error = failing(connection, "SELECT * FROM nothing")
    connection.close()
    assert as_matchka_error(DBAPIError("statement", {}, error)) is None
    assert as_matchka_error(SQLAlchemyError("of the library's own")) is None


def test_reading_all_references_of_a_file_cut_short_is_damage_and_not_the_end(path: Path):
    with opened_store(f"sqlite:///{path}") as store:
        held = path.stat().st_size
        with path.open("r+b") as file:
            file.truncate(held // 2)
        with pytest.raises((StorageDamagedError, DBAPIError)) as refused:
            [batch.rows() for batch in store.all_references("voice", "1")]
    known = as_matchka_error(refused.value) or refused.value
    assert isinstance(known, StorageDamagedError)
