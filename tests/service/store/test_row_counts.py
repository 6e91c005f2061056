"""Of how many rows templates and references are the mean: kept, summed, and unknown where one is."""

import shutil
import sqlite3
from functools import partial
from pathlib import Path

import pytest

from matchka.store.store import Store, opened_store
from tests.factories.databases import UnderTest
from tests.factories.unit_vectors import unit_vectors

units = partial(unit_vectors, dim=6)
OF = ("t", "ada", "voice", "1")
OF_VERSION_2 = Path(__file__).parents[2] / "end_to_end" / "interface_v1" / "data_folder" / "matchka.sqlite"


@pytest.fixture
def store(database: UnderTest):
    with opened_store(database.url) as opened:
        yield opened


def test_reference_counts_the_rows_of_all_its_templates(store: Store):
    store.add_templates(*OF, units(2, 1), [3, 8])
    assert store.add_templates(*OF, units(1, 2), [5]).reference.row_count == 16
    assert store.reference(*OF).row_count == 16


def test_reference_with_one_template_of_unknown_rows_knows_none_until_that_is_deleted(store: Store):
    store.add_templates(*OF, units(1, 1), [4])
    (unknown,) = store.add_templates(*OF, units(1, 2)).template_ids
    assert store.reference(*OF).row_count is None
    assert store.delete_template("t", unknown).reference.row_count == 4
    assert store.reference(*OF).row_count == 4


def test_references_of_keys_are_those_that_are_there_with_their_rows(store: Store):
    ada = store.add_templates(*OF, units(2, 1), [3, 4]).reference
    ben = store.add_templates("t", "ben", "voice", "1", units(1, 2), [7]).reference
    other = store.add_templates("other", "ada", "voice", "1", units(1, 3), [1]).reference
    gone = store.add_templates("t", "gone", "voice", "1", units(1, 4), [1]).reference.subject_key
    store.delete_subject("t", "gone")
    keys = [ben.subject_key, gone, ada.subject_key, other.subject_key]
    found = store.references_of_keys("t", keys, "voice", "1")
    assert {(key, one.subject_id, one.template_count, one.row_count) for key, one in found.items()} == {
        (ada.subject_key, "ada", 2, 7),
        (ben.subject_key, "ben", 1, 7),
    }
    assert found[ada.subject_key].embedding.tolist() == ada.embedding.tolist()
    assert store.references_of_keys("t", keys, "voice", "2") == {}


def test_database_of_version_2_keeps_its_templates_and_knows_no_rows(tmp_path: Path):
    path = tmp_path / "kept.sqlite"
    shutil.copy(OF_VERSION_2, path)
    with opened_store(f"sqlite:///{path}") as store:
        assert store.reference("default", "ada", "voice", "1.0.0").row_count is None
    connection = sqlite3.connect(path)
    for table in ("templates", "subject_references"):
        assert connection.execute(f"SELECT DISTINCT row_count FROM {table}").fetchall() == [(None,)]
    connection.close()
