"""The condition of templates: kept, the lowest for a reference, carried by exports, and looked at by the check."""

import json
import shutil
import zipfile
from functools import partial
from pathlib import Path

import pytest

from matchka.store.engine import open_engine, reading
from matchka.store.integrity.check import check_store
from matchka.store.store import Store, opened_store
from matchka.store.transfer.exporter import write_export
from matchka.store.transfer.import_plan import ImportPlan
from matchka.store.transfer.importer import import_archive
from tests.factories.databases import UnderTest
from tests.factories.unit_vectors import unit_vectors

units = partial(unit_vectors, dim=6)
OF = ("t", "ada", "radio", "1")
OF_VERSION_2 = Path(__file__).parents[2] / "end_to_end" / "interface_v1" / "data_folder" / "matchka.sqlite"


@pytest.fixture
def store(database: UnderTest):
    with opened_store(database.url) as opened:
        yield opened


def test_reference_has_the_lowest_condition_of_its_templates(store: Store):
    first, _ = store.add_templates(*OF, units(2, 1), [1, 1], [-3.25, 12.5]).template_ids
    assert store.add_templates(*OF, units(1, 2), [1], [7.0]).reference.condition == -3.25
    assert store.reference(*OF).condition == -3.25
    assert store.delete_template("t", first).reference.condition == 7.0
    key = store.reference(*OF).subject_key
    assert store.references_of_keys("t", [key], "radio", "1")[key].condition == 7.0


def test_reference_with_one_template_without_a_condition_has_none(store: Store):
    store.add_templates(*OF, units(1, 1), [1], [4.0])
    assert store.add_templates(*OF, units(1, 2), [1]).reference.condition is None
    assert store.reference(*OF).condition is None


def ignore(_done: int, _total: int) -> None:
    """No progress to show."""


def test_export_and_import_keep_conditions_and_write_none_where_there_is_none(
    tmp_path: Path, store: Store, database: UnderTest
):
    store.add_templates(*OF, units(2, 1), [3, 4], [-3.25, 12.5])
    store.add_templates("t", "ben", "radio", "1", units(1, 2), [5])
    engine = open_engine(database.url)
    with reading(engine) as session:
        write_export(session, tmp_path / "export", "t", "radio", "1", ignore)
    engine.dispose()
    with zipfile.ZipFile(tmp_path / "export") as archive:
        lines = [json.loads(line) for line in archive.read("subjects.jsonl").splitlines()]
        assert json.loads(archive.read("export.json"))["format"] == "matchka-export-3"
    entries = {line["subject_id"]: line["templates"] for line in lines}
    assert sorted(entry["condition"] for entry in entries["ada"]) == [-3.25, 12.5]
    assert [set(entry) for entry in entries["ben"]] == [{"template_id", "created_at", "row_count"}]
    with opened_store(f"sqlite:///{tmp_path / 'new.sqlite'}") as other:
        engine = open_engine(f"sqlite:///{tmp_path / 'new.sqlite'}")
        import_archive(engine, ImportPlan(tmp_path / "export"), {("radio", "1"): 6}, ignore, ignore)
        engine.dispose()
        assert other.reference(*OF).condition == -3.25
        assert other.reference("t", "ben", "radio", "1").condition is None


def test_export_without_conditions_is_of_the_format_that_earlier_releases_read(
    tmp_path: Path, store: Store, database: UnderTest
):
    store.add_templates(*OF, units(2, 1), [3, 4])
    store.add_templates("t", "ben", "radio", "2", units(1, 2), [5], [1.5])  # another version's condition
    engine = open_engine(database.url)
    with reading(engine) as session:
        write_export(session, tmp_path / "export", "t", "radio", "1", ignore)
    engine.dispose()
    with zipfile.ZipFile(tmp_path / "export") as archive:
        assert json.loads(archive.read("export.json"))["format"] == "matchka-export-2"


def test_reference_whose_condition_is_not_the_lowest_is_found_by_the_check(store: Store, database: UnderTest):
    store.add_templates(*OF, units(2, 1), [3, 4], [-3.25, 12.5])
    engine = open_engine(database.url)
    with reading(engine) as session:
        assert check_store(session, ignore).findings == ()
    database.change("UPDATE subject_references SET condition = 12.5")
    with reading(engine) as session:
        (problem,) = check_store(session, ignore).findings
    engine.dispose()
    assert "condition 12.5 where the lowest of its templates is -3.25" in problem.what


def test_database_of_version_2_keeps_its_templates_and_knows_no_conditions(tmp_path: Path):
    shutil.copy(OF_VERSION_2, tmp_path / "kept.sqlite")
    with opened_store(f"sqlite:///{tmp_path / 'kept.sqlite'}") as opened:
        assert opened.reference("default", "ada", "voice", "1.0.0").condition is None
