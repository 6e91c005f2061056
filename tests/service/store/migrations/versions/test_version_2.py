"""Databases of an older program version: nothing of them is lost, and each reference gets its digest."""

import sqlite3
from pathlib import Path

import numpy as np

from matchka.store.schema import SCHEMA_VERSION
from matchka.store.store import opened_store
from tests.factories.old_stores import make_old
from tests.factories.slow_digest import slow_digest

DIM = 5


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
