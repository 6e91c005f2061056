"""Databases of an older program version: nothing of them is lost, and each reference gets its digest."""

import sqlite3
from pathlib import Path

import numpy as np

from matchka.store.schema import SCHEMA_VERSION
from matchka.store.store import opened_store
from tests.service.store.integrity.test_digest import slow_digest

# as the first version of the program made them; never to be changed
TABLES_OF_VERSION_1 = """
CREATE TABLE schema_version (version INTEGER NOT NULL, PRIMARY KEY (version));
CREATE TABLE subjects (key INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, tenant VARCHAR(64) NOT NULL,
    subject_id VARCHAR(256) NOT NULL, created_at DATETIME NOT NULL, UNIQUE (tenant, subject_id));
CREATE TABLE templates (template_id VARCHAR(32) NOT NULL, subject_key INTEGER NOT NULL, model VARCHAR(64) NOT NULL,
    version VARCHAR(64) NOT NULL, embedding BLOB NOT NULL, created_at DATETIME NOT NULL, PRIMARY KEY (template_id),
    FOREIGN KEY(subject_key) REFERENCES subjects (key) ON DELETE CASCADE);
CREATE INDEX templates_of_subject ON templates (subject_key, model);
CREATE TABLE subject_references (subject_key INTEGER NOT NULL, model VARCHAR(64) NOT NULL,
    version VARCHAR(64) NOT NULL, template_count INTEGER NOT NULL, embedding BLOB NOT NULL,
    PRIMARY KEY (subject_key, model, version),
    FOREIGN KEY(subject_key) REFERENCES subjects (key) ON DELETE CASCADE);
INSERT INTO schema_version VALUES (1);
"""
DIM = 5


def make_old(path: Path, rows: np.ndarray) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(TABLES_OF_VERSION_1)
    for key, row in enumerate(rows, start=1):
        connection.execute("INSERT INTO subjects VALUES (?, 't', ?, '2026-01-01 00:00:00')", (key, f"s{key}"))
        for model in ("voice", "face")[: 1 + key % 2]:
            connection.execute(
                "INSERT INTO subject_references VALUES (?, ?, '1', 1, ?)", (key, model, (row * len(model)).tobytes())
            )
    connection.commit()
    connection.close()


def test_store_of_version_1_keeps_its_references_and_gets_their_digests(tmp_path: Path):
    rows = np.random.default_rng(0).normal(size=(7, DIM)).astype("<f4")
    make_old(tmp_path / "old.sqlite", rows)
    with opened_store(f"sqlite:///{tmp_path / 'old.sqlite'}") as store:
        np.testing.assert_array_equal(store.reference("t", "s3", "face", "1").embedding, rows[2] * 4)
        store.add_templates("t", "s8", "voice", "1", rows[:1])
    connection = sqlite3.connect(tmp_path / "old.sqlite")
    found = connection.execute("SELECT subject_key, model, embedding, digest FROM subject_references").fetchall()
    version = connection.execute("SELECT version FROM schema_version").fetchall()
    indexes = {row[1] for row in connection.execute("PRAGMA index_list(subject_references)")}
    connection.close()
    assert version == [(SCHEMA_VERSION,)]
    assert "references_listed" in indexes
    assert len(found) == 12  # seven with a voice, four of them with a face, and the new one
    for _, _, embedding, digest in found:
        assert digest == slow_digest(np.frombuffer(embedding, "<f4"))


def test_upgraded_store_opened_again_stays_as_it_is(tmp_path: Path):
    rows = np.random.default_rng(1).normal(size=(3, DIM)).astype("<f4")
    make_old(tmp_path / "old.sqlite", rows)
    url = f"sqlite:///{tmp_path / 'old.sqlite'}"
    with opened_store(url):
        pass
    with opened_store(url) as store:
        np.testing.assert_array_equal(store.reference("t", "s2", "voice", "1").embedding, rows[1] * 5)
