"""A database of tables of version 1 is brought to today's without losing a row, even if the first try was cut short."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event

from matchka.errors import StoreError
from matchka.store.engine import open_engine
from matchka.store.migrations.migrate import bring_up_to_date, version_of_tables
from matchka.store.schema import SCHEMA_VERSION, SchemaVersion
from matchka.store.store import Store, opened_store
from tests.factories.databases import UnderTest
from tests.factories.unit_vectors import unit_vectors

# as the first release made them
VERSION_1 = """
CREATE TABLE schema_version (version INTEGER NOT NULL, PRIMARY KEY (version));
CREATE TABLE subjects ("key" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, tenant VARCHAR(64) NOT NULL,
    subject_id VARCHAR(256) NOT NULL, created_at DATETIME NOT NULL, UNIQUE (tenant, subject_id));
CREATE TABLE templates (template_id VARCHAR(32) NOT NULL, subject_key INTEGER NOT NULL, model VARCHAR(64) NOT NULL,
    version VARCHAR(64) NOT NULL, embedding BLOB NOT NULL, created_at DATETIME NOT NULL, PRIMARY KEY (template_id),
    FOREIGN KEY(subject_key) REFERENCES subjects ("key") ON DELETE CASCADE);
CREATE INDEX templates_of_subject ON templates (subject_key, model);
CREATE TABLE subject_references (subject_key INTEGER NOT NULL, model VARCHAR(64) NOT NULL,
    version VARCHAR(64) NOT NULL, template_count INTEGER NOT NULL, embedding BLOB NOT NULL,
    PRIMARY KEY (subject_key, model, version), FOREIGN KEY(subject_key) REFERENCES subjects ("key") ON DELETE CASCADE);
INSERT INTO schema_version VALUES (1);
"""
DIM = 4
WHEN = "2026-01-02 03:04:05.000006"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Three subjects of one template each, keys 5, 6 and 9."""
    path = tmp_path / "old.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1)
    for key in (5, 6, 9):
        row = unit(key).tobytes()
        connection.execute("INSERT INTO subjects VALUES (?, 't', ?, ?)", (key, f"s{key}", WHEN))
        connection.execute("INSERT INTO templates VALUES (?, ?, 'voice', '1', ?, ?)", (f"id{key}", key, row, WHEN))
        connection.execute("INSERT INTO subject_references VALUES (?, 'voice', '1', 1, ?)", (key, row))
    connection.commit()
    connection.close()
    return path


def unit(seed: int) -> np.ndarray:
    return unit_vectors(1, seed, dim=DIM)[0]


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    found = connection.execute(query).fetchall()
    connection.close()
    return found


def test_database_of_version_1_after_opening_holds_every_row_and_todays_tables(old: Path):
    tables = ("subjects", "templates", "subject_references")
    before = {table: rows(old, f"SELECT * FROM {table}") for table in tables}
    with opened_store(f"sqlite:///{old}") as store:
        for key in (5, 6, 9):
            found = store.reference("t", f"s{key}", "voice", "1")
            assert (found.subject_key, found.template_count) == (key, 1)
            np.testing.assert_array_equal(found.embedding, unit(key))
        assert len(store.identity) == 32
        assert store.delete_subject("t", "s9").subject_key == 9
        assert store.add_templates("t", "new", "voice", "1", unit(1)[None]).reference.subject_key > 9
    assert rows(old, "SELECT * FROM schema_version") == [(SCHEMA_VERSION,)]
    assert rows(old, "SELECT template_id, tenant, subject_hash FROM deletions") == [("id9", "t", None)]
    after = {table: rows(old, f"SELECT * FROM {table}") for table in tables}
    for table, key_column in zip(tables, (0, 1, 0), strict=True):
        kept = [row for row in before[table] if row[key_column] != 9]
        # the columns that there were; embeddings have a digest behind them now
        assert [row[: len(kept[0])] for row in after[table] if row[key_column] in (5, 6)] == kept


def test_migrated_database_has_the_tables_and_indexes_of_a_new_one(old: Path, tmp_path: Path):
    with opened_store(f"sqlite:///{old}"), opened_store(f"sqlite:///{tmp_path / 'new.sqlite'}"):
        pass
    query = "SELECT type, name, tbl_name FROM sqlite_master ORDER BY type, name"
    assert rows(old, query) == rows(tmp_path / "new.sqlite", query)


@pytest.mark.parametrize(
    "already_done",
    [
        "CREATE TABLE store_identity (identity VARCHAR(32) NOT NULL, PRIMARY KEY (identity));"
        "INSERT INTO store_identity VALUES ('named-before');",
        "ALTER TABLE subject_references ADD COLUMN digest BIGINT;",
    ],
    ids=["identity", "column"],
)
def test_migration_that_was_cut_short_is_finished_by_the_next_start(old: Path, already_done: str):
    connection = sqlite3.connect(old)
    connection.executescript(already_done)
    connection.close()
    with opened_store(f"sqlite:///{old}") as store:
        identity = store.identity
        assert store.reference("t", "s5", "voice", "1").template_count == 1
    assert rows(old, "SELECT version FROM schema_version") == [(SCHEMA_VERSION,)]
    assert rows(old, "SELECT identity FROM store_identity") == [(identity,)]
    if "named-before" in already_done:
        assert identity == "named-before"


def test_identity_after_opening_again_is_the_same_and_of_another_store_is_not(old: Path, tmp_path: Path):
    def identity(path: Path) -> str:
        with opened_store(f"sqlite:///{path}") as store:
            return store.identity

    assert identity(old) == identity(old) != identity(tmp_path / "other.sqlite")


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION + 1])
def test_database_of_an_unknown_version_is_refused_and_left_alone(old: Path, version: int):
    connection = sqlite3.connect(old)
    connection.execute("UPDATE schema_version SET version = ?", (version,))
    connection.commit()
    connection.close()
    before = old.read_bytes()
    with pytest.raises(StoreError, match=f"version {version}"):
        Store(f"sqlite:///{old}")
    assert rows(old, "SELECT name FROM sqlite_master WHERE name = 'deletions'") == []
    assert len(old.read_bytes()) == len(before)


@pytest.mark.parametrize("moment", [1, 2])
def test_tables_that_another_process_makes_during_the_first_look_are_no_error(database: UnderTest, moment: int):
    engine = open_engine(database.url)
    looks: list[str] = []

    @event.listens_for(engine, "after_cursor_execute")
    def make(_connection: object, _cursor: object, statement: str, parameters: object, *_more: object) -> None:
        if SchemaVersion.__tablename__ in f"{statement} {parameters}":
            looks.append(statement)
            if len(looks) == moment:
                Store(database.url).close()

    bring_up_to_date(engine)
    assert len(looks) > moment
    assert version_of_tables(engine) == SCHEMA_VERSION
    engine.dispose()
