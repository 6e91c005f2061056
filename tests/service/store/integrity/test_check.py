"""The check of a store finds each thing that can be wrong, and nothing in a store that is right."""

import sqlite3
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine

from matchka.store.engine import reading
from matchka.store.integrity.check import CheckReport, check_store
from matchka.store.store import opened_store
from tests.factories.unit_vectors import unit_vectors

DIM = 4
units = partial(unit_vectors, dim=DIM)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Five subjects of one to five templates of two models; a template and a subject were deleted."""
    path = tmp_path / "store.sqlite"
    with opened_store(f"sqlite:///{path}") as store:
        for number in range(1, 6):
            store.add_templates("t", f"s{number}", "voice", "1", units(number, number))
        store.add_templates("other", "s1", "face", "7", units(2, 9, dim=6))
        store.delete_template("t", store.subject("t", "s3").templates[0].template_id)
        store.delete_subject("t", "s4")
    return path


def change(path: Path, *statements: tuple[str, tuple[object, ...]]) -> None:
    connection = sqlite3.connect(path)
    for statement, values in statements:
        connection.execute(statement, values)
    connection.commit()
    connection.close()


def checked(path: Path) -> CheckReport:
    steps: list[tuple[int, int]] = []
    engine = create_engine(f"sqlite:///{path}")
    with reading(engine) as session:
        report = check_store(session, lambda done, total: steps.append((done, total)))
    engine.dispose()
    assert not report.templates or steps[-1] == (report.templates, report.templates)
    return report


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 10_000])
def test_sound_store_is_read_whole_and_nothing_is_found(path: Path, batch_rows: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("matchka.store.integrity.check.BATCH_ROWS", batch_rows)
    assert checked(path) == CheckReport(5, 1 + 2 + 2 + 5 + 2, 5, ())


def test_empty_store_is_sound(tmp_path: Path):
    with opened_store(f"sqlite:///{tmp_path / 'new.sqlite'}"):
        pass
    assert checked(tmp_path / "new.sqlite") == CheckReport(0, 0, 0, ())


OF_S5 = "(SELECT key FROM subjects WHERE subject_id = 's5')"
NAN = np.full(DIM, np.nan, "<f4").tobytes()
INFINITE = np.full(DIM, np.inf, "<f4").tobytes()
FIRST_OF_S5 = f"template_id = (SELECT min(template_id) FROM templates WHERE subject_key = {OF_S5})"


@pytest.mark.parametrize(
    ("statement", "values", "said"),
    [
        (
            f"UPDATE templates SET row_count = 3 WHERE subject_key = {OF_S5}",
            (),
            "a reference that counts None rows where its templates have 15",
        ),
        (f"UPDATE templates SET embedding = ? WHERE {FIRST_OF_S5}", (NAN,), "a template of length nan"),
        (f"UPDATE templates SET embedding = ? WHERE {FIRST_OF_S5}", (INFINITE,), "a template of length inf"),
        (f"UPDATE templates SET embedding = ? WHERE {FIRST_OF_S5}", (b"\0" * 4 * DIM,), "a template of length 0"),
        (
            f"UPDATE templates SET embedding = ? WHERE {FIRST_OF_S5}",
            ((1.002 * units(1, 3)).astype("<f4").tobytes(),),
            "a template of length 1.002",
        ),
        (f"UPDATE templates SET embedding = ? WHERE {FIRST_OF_S5}", (b"\0" * 15,), "a template of 15 bytes"),
        (
            f"UPDATE templates SET embedding = ? WHERE {FIRST_OF_S5}",
            (units(1, 77).tobytes(),),
            "a reference that is not the mean",
        ),
        (
            f"UPDATE subject_references SET embedding = ? WHERE subject_key = {OF_S5}",
            (NAN,),
            "a reference that is not the mean",
        ),
        (
            f"UPDATE subject_references SET embedding = ? WHERE subject_key = {OF_S5}",
            (b"",),
            "a reference that is not the mean",
        ),
        (
            f"UPDATE subject_references SET template_count = 4 WHERE subject_key = {OF_S5}",
            (),
            "a reference that counts 4 templates where there are 5",
        ),
        (f"UPDATE templates SET digest = digest + 1 WHERE {FIRST_OF_S5}", (), "a template whose digest"),
        (f"UPDATE subject_references SET digest = 5 WHERE subject_key = {OF_S5}", (), "a reference whose digest"),
        (f"DELETE FROM subject_references WHERE subject_key = {OF_S5}", (), "templates without a reference"),
        (f"DELETE FROM templates WHERE {FIRST_OF_S5}", (), "counts 5 templates where there are 4"),
        (f"UPDATE templates SET version = '2' WHERE {FIRST_OF_S5}", (), "templates without a reference"),
        ("DELETE FROM subjects WHERE subject_id = 's5'", (), "a template of no subject"),
        ("DELETE FROM subjects WHERE subject_id = 's5'", (), "a reference of no subject"),
        (f"DELETE FROM templates WHERE subject_key = {OF_S5}", (), "a reference without templates"),
        (f"DELETE FROM templates WHERE subject_key = {OF_S5}", (), "a subject without templates"),
        (
            f"INSERT INTO deletions SELECT template_id, 't', 's5', '2026-01-01' FROM templates WHERE {FIRST_OF_S5}",
            (),
            "a template that the deletion log calls deleted",
        ),
    ],
)
def test_store_with_one_thing_wrong_is_found_out(path: Path, statement: str, values: tuple[object, ...], said: str):
    change(path, (statement, values))
    report = checked(path)
    assert any(said in finding.what for finding in report.findings), report.findings
    assert all(finding.where for finding in report.findings)


def test_reference_off_by_a_hundred_thousandth_is_found_and_by_one_rounding_is_not(path: Path):
    for step, expected in ((6e-8, 0), (1e-5, 1)):
        (data,) = (
            sqlite3.connect(path)
            .execute(f"SELECT embedding FROM subject_references WHERE subject_key = {OF_S5}")
            .fetchone()
        )
        moved = np.frombuffer(data, "<f4") + np.float32(step)
        change(
            path,
            (
                f"UPDATE subject_references SET embedding = ?, digest = NULL WHERE subject_key = {OF_S5}",
                (moved.tobytes(),),
            ),
        )
        assert len(checked(path).findings) == expected


def test_damaged_pages_are_found(path: Path):
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 6] = bytes(4096 * 3)
    path.write_bytes(content)
    assert any(finding.what == "the database file is damaged" for finding in checked(path).findings)
