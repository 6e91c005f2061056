"""Exports and imports: the same templates under the same ids, or nothing, and nothing that a deletion log names."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from matchka.errors import BackupError, RestoreRefusedError
from matchka.store.deletions import Deletion
from matchka.store.engine import open_engine, reading
from matchka.store.store import Store, opened_store
from matchka.store.transfer.exporter import write_export
from matchka.store.transfer.import_plan import ImportPlan, ImportReport
from matchka.store.transfer.importer import import_archive
from tests.factories.databases import UnderTest
from tests.factories.unit_vectors import unit_vectors

DIM = 6
units = partial(unit_vectors, dim=DIM)
DIMS = {("voice", "1"): DIM, ("voice", "2"): DIM}


def ignore(_done: int, _total: int) -> None:
    """Nobody watches."""


@pytest.fixture
def source(databases: Callable[[str], UnderTest]) -> UnderTest:
    """Tenant `t`: four subjects of voice 1 and one of voice 2; `gone` was deleted. Another tenant and model beside."""
    database = databases("source")
    with opened_store(database.url) as store:
        for number in range(4):
            store.add_templates("t", f"s{number}", "voice", "1", units(1 + number, number))
        store.add_templates("t", "s0", "voice", "2", units(1, 50))
        store.add_templates("t", "s0", "face", "1", units(1, 51))
        store.add_templates("other", "s0", "voice", "1", units(1, 52))
        store.add_templates("t", "gone", "voice", "1", units(2, 53))
        store.delete_subject("t", "gone")
    return database


@pytest.fixture
def archive(source: UnderTest, tmp_path: Path) -> Path:
    exported(source, tmp_path / "t.export")
    return tmp_path / "t.export"


@pytest.fixture
def target(databases: Callable[[str], UnderTest]) -> UnderTest:
    database = databases("target")
    with opened_store(database.url):
        pass
    return database


def exported(source: UnderTest, target: Path, version: str = "1") -> None:
    engine = open_engine(source.url)
    try:
        with reading(engine) as session:
            write_export(session, target, "t", "voice", version, ignore)
    finally:
        engine.dispose()


def imported(archive: Path, database: UnderTest, **options: object) -> ImportReport:
    engine = open_engine(database.url)
    try:
        return import_archive(engine, ImportPlan(archive, **options), DIMS, ignore, ignore)
    finally:
        engine.dispose()


def content(database: UnderTest) -> list[tuple[object, ...]]:
    """Templates of voice 1 in tenant t, with their subjects and references, read past the store."""
    return database.rows(
        """SELECT subject_id, subjects.created_at, template_id, templates.embedding, templates.digest,
                  templates.created_at, subject_references.embedding, template_count, subject_references.digest
           FROM subjects JOIN templates ON subjects.key = templates.subject_key
           JOIN subject_references ON subjects.key = subject_references.subject_key
                AND subject_references.model = templates.model AND subject_references.version = templates.version
           WHERE tenant = 't' AND templates.model = 'voice' AND templates.version = '1'
           ORDER BY subject_id, template_id"""
    )


def everything(database: UnderTest) -> list[list[tuple[object, ...]]]:
    tables = ("subjects", "templates", "subject_references", "deletions")
    return [database.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


def rewritten(archive: Path, target: Path, change: Callable[[dict[str, bytes]], None], **claims: object) -> Path:
    """A copy of an export with changed members, whose checksums are right."""
    with zipfile.ZipFile(archive) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    manifest = json.loads(members.pop("export.json")) | claims
    change(members)
    manifest["members"] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in members.items()
    }
    with zipfile.ZipFile(target, "w") as copy:
        for name, data in members.items():
            copy.writestr(name, data)
        copy.writestr("export.json", json.dumps(manifest))
    return target


def test_export_is_readable_with_nothing_but_a_zip_and_numpy(archive: Path, source: UnderTest):
    with zipfile.ZipFile(archive) as opened:
        manifest = json.loads(opened.read("export.json"))
        lines = [json.loads(line) for line in opened.read("subjects.jsonl").splitlines()]
        rows = np.load(io.BytesIO(opened.read("embeddings.npy")))
        deletions = [json.loads(line) for line in opened.read("deletions.jsonl").splitlines()]
        for name, member in manifest["members"].items():
            assert hashlib.sha256(opened.read(name)).hexdigest() == member["sha256"]
    assert (manifest["format"], manifest["tenant"], manifest["model"]) == ("matchka-export-4", "t", "voice")
    assert [line["subject_id"] for line in lines] == ["s0", "s1", "s2", "s3"]
    assert rows.shape == (10, DIM)
    np.testing.assert_array_equal(rows[:1], units(1, 0))
    ids = [template["template_id"] for line in lines for template in line["templates"]]
    stored = {row[2]: row[3] for row in content(source)}
    assert {name: row.tobytes() for name, row in zip(ids, rows, strict=True)} == stored
    assert [set(deletion) for deletion in deletions] == [{"template_id", "tenant", "deleted_at"}] * len(deletions)
    assert deletions
    assert len(deletions) == 2


def test_import_into_another_store_gives_the_same_templates_times_and_means(
    archive: Path, source: UnderTest, target: UnderTest
):
    report = imported(archive, target)
    assert (report.subjects, report.templates, report.kept_out, report.removed) == (4, 10, 0, 0)
    assert content(target) == content(source)
    with opened_store(target.url) as store:
        assert store.reference("t", "s3", "voice", "1").template_count == 4
        added = store.add_templates("t", "s3", "voice", "1", units(1, 99)).reference
        assert added.template_count == 5  # the digests are in place: a wrong one would be refused
    assert len(everything(target)[3]) == 2  # the deletion log came along


def test_import_into_a_tenant_of_another_name(archive: Path, target: UnderTest):
    assert imported(archive, target, tenant="new").tenant == "new"
    with opened_store(target.url) as store:
        assert [s.subject_id for s in store.subjects("new", 10, None)] == ["s0", "s1", "s2", "s3"]
        assert store.subjects("t", 10, None) == []


@pytest.mark.parametrize(("existing", "subjects", "skipped", "replaced"), [("skip", 3, 1, 0), ("replace", 4, 0, 1)])
def test_import_over_a_subject_that_is_there_does_as_it_is_told(
    archive: Path, source: UnderTest, target: UnderTest, existing: str, subjects: int, skipped: int, replaced: int
):
    with opened_store(target.url) as store:
        own = store.add_templates("t", "s1", "voice", "1", units(2, 70)).template_ids
        store.add_templates("t", "s2", "face", "1", units(1, 71))  # of another model: not in the way
    report = imported(archive, target, existing=existing)
    assert (report.subjects, report.skipped, report.replaced) == (subjects, skipped, replaced)
    with opened_store(target.url) as store:
        held = {t.template_id for t in store.subject("t", "s1").templates}
        noted = {row[0] for row in everything(target)[3]}
        if existing == "skip":
            assert held == set(own)
            assert not noted & set(own)
        else:
            assert not held & set(own)
            assert set(own) <= noted
            assert content(target) == [
                (*row[:1], row[1] if row[0] != "s1" and row[0] != "s2" else content(target)[n][1], *row[2:])
                for n, row in enumerate(content(source))
            ]
        assert len(store.subject("t", "s2").templates) == 1 + 3


def test_import_over_a_subject_that_is_there_fails_whole_unless_told(archive: Path, target: UnderTest):
    with opened_store(target.url) as store:
        store.add_templates("t", "s3", "voice", "1", units(2, 70))
    before = everything(target)
    with pytest.raises(RestoreRefusedError, match="already") as refused:
        imported(archive, target)
    assert refused.value.value == "s3"
    assert everything(target) == before


def test_import_twice_with_replace_changes_nothing(archive: Path, target: UnderTest):
    imported(archive, target)
    before = everything(target)
    report = imported(archive, target, existing="replace")
    assert (report.replaced, report.templates) == (4, 10)
    assert [rows[1:] for rows in everything(target)[1]] == [rows[1:] for rows in before[1]]
    assert everything(target)[3] == before[3]


def test_import_of_templates_that_another_tenant_has_is_refused_whole(archive: Path, source: UnderTest):
    before = everything(source)
    with pytest.raises(RestoreRefusedError, match="another subject or tenant"):
        imported(archive, source, tenant="copy")
    assert everything(source) == before


def test_import_keeps_out_what_a_deletion_log_calls_deleted_unless_told(
    archive: Path, source: UnderTest, target: UnderTest
):
    ids = {row[0]: row[2] for row in content(source)}
    given = (Deletion(ids["s0"], "t", datetime.now(UTC)),)
    report = imported(archive, target, deletions=given)
    assert (report.subjects, report.templates, report.kept_out) == (3, 9, 1)
    with opened_store(target.url) as store:
        assert [s.subject_id for s in store.subjects("t", 10, None)] == ["s1", "s2", "s3"]
        store.delete_subject("t", "s1")
    report = imported(archive, target, existing="replace")
    assert (report.subjects, report.kept_out) == (2, 3)
    report = imported(archive, target, existing="replace", resurrect=True)
    assert (report.subjects, report.kept_out) == (4, 0)
    assert [row[2] for row in content(target)] == [row[2] for row in content(source)]
    living = {row[2] for row in content(target)}
    assert not living & {row[0] for row in everything(target)[3]}


def test_import_carries_deletions_on(archive: Path, source: UnderTest, target: UnderTest, tmp_path: Path):
    imported(archive, target)
    with opened_store(source.url) as store:
        store.delete_subject("t", "s2")
    exported(source, tmp_path / "later.export")
    report = imported(tmp_path / "later.export", target, existing="skip")
    assert (report.removed, report.skipped) == (3, 3)
    with opened_store(target.url) as store:
        assert [s.subject_id for s in store.subjects("t", 10, None)] == ["s0", "s1", "s3"]


def test_import_of_another_version_or_size_is_refused(
    source: UnderTest, target: UnderTest, archive: Path, tmp_path: Path
):
    engine = open_engine(target.url)
    for dims, said in (({("voice", "9"): DIM}, "no bundle is here; there are: voice 9"), ({}, "there are: none")):
        with pytest.raises(BackupError, match=said):
            import_archive(engine, ImportPlan(archive), dims, ignore, ignore)
    with pytest.raises(BackupError, match="have 12 components"):
        import_archive(engine, ImportPlan(archive), {("voice", "1"): 12}, ignore, ignore)
    engine.dispose()
    exported(source, tmp_path / "2.export", "2")
    assert imported(tmp_path / "2.export", target).manifest.version == "2"


def test_export_of_nothing_is_refused_and_leaves_no_file(source: UnderTest, tmp_path: Path):
    with pytest.raises(BackupError, match="no templates of voice 7"):
        exported(source, tmp_path / "n.export", "7")
    assert not (tmp_path / "n.export").exists()


def corrupt_row(value: float) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        data = bytearray(members["embeddings.npy"])
        data[-4:] = np.float32(value).tobytes()
        members["embeddings.npy"] = bytes(data)

    return change


def edit(name: str, old: bytes, new: bytes) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        assert old in members[name]
        members[name] = members[name].replace(old, new, 1)

    return change


def drop_line(members: dict[str, bytes]) -> None:
    members["subjects.jsonl"] = members["subjects.jsonl"].split(b"\n", 1)[1]


def cut_rows(members: dict[str, bytes]) -> None:
    members["embeddings.npy"] = members["embeddings.npy"][:-4]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (corrupt_row(float("nan")), "Row 9 of embeddings.npy is not of unit length"),
        (corrupt_row(float("inf")), "not of unit length"),
        (corrupt_row(3.0), "not of unit length"),
        (drop_line, "names 4 subjects and 10 templates"),
        (cut_rows, "fewer rows"),
        (edit("embeddings.npy", b"<f4", b"<i4"), "must hold little-endian float32"),
        (edit("embeddings.npy", b"NUMPY", b"numpy"), "no NumPy file"),
        (edit("subjects.jsonl", b'"s1"', b'"a b"'), "Line 2 of subjects.jsonl"),
        (edit("subjects.jsonl", b'"s1"', '"e\u0301"'.encode()), "composed form"),
        (edit("subjects.jsonl", b'"s1"', b'"s0"'), "there already"),
        (edit("subjects.jsonl", b"{", b"["), "Line 1 of subjects.jsonl"),
        (edit("subjects.jsonl", b'"row_count":null', b'"row_count":9223372036854775808'), "Line 1 of subjects.jsonl"),
        (edit("subjects.jsonl", b'"row_count":null', b'"row_count":0'), "Line 1 of subjects.jsonl"),
        (edit("deletions.jsonl", b"tenant", b"tenant\xff"), "not one of a deletion log"),
    ],
)
def test_export_that_does_not_agree_with_itself_is_refused_whole(
    archive: Path, target: UnderTest, tmp_path: Path, change: Callable[[dict[str, bytes]], None], said: str
):
    before = everything(target)
    with pytest.raises((BackupError, RestoreRefusedError), match=said):
        imported(rewritten(archive, tmp_path / "forged", change), target)
    assert everything(target) == before


def test_export_with_a_changed_byte_is_refused(archive: Path, target: UnderTest):
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        place = opened.getinfo("embeddings.npy").header_offset + 200  # within its content
    data[place] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(BackupError):
        imported(archive, target)


def test_names_of_many_subjects_survive(
    tmp_path: Path, target: UnderTest, databases: Callable[[str], UnderTest], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("matchka.store.transfer.export_reader.TEMPLATES_AT_ONCE", 3)
    many = databases("many")
    names = ["中", "é", "a@b.c", "x" * 256, "0", "Ω"]
    with opened_store(many.url) as store:
        for number, name in enumerate(names):
            store.add_templates("t", name, "voice", "1", units(1 + number % 3, number))
    exported(many, tmp_path / "many.export")
    imported(tmp_path / "many.export", target)
    assert content(target) == content(many)


def test_deletion_log_of_the_store_is_asked_before_anything_is_stored(archive: Path, source: UnderTest):
    with opened_store(source.url) as store:
        _delete_all(store)
    report = imported(archive, source)
    assert (report.subjects, report.kept_out) == (0, 10)


def _delete_all(store: Store) -> None:
    for subject in store.subjects("t", 10, None):
        store.delete_subject("t", subject.subject_id)


ROWS = "SELECT subject_id, template_count, row_count FROM subject_references JOIN subjects ON key = subject_key"


def rows_of_references(database: UnderTest) -> set[tuple[object, ...]]:
    return set(database.rows(f"{ROWS} WHERE tenant = 't' AND model = 'voice' AND version = '1'"))


def without_row_counts(members: dict[str, bytes]) -> None:
    lines = [json.loads(line) for line in members["subjects.jsonl"].splitlines()]
    for line in lines:
        for entry in line["templates"]:
            del entry["row_count"]
    members["subjects.jsonl"] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_numbers_of_rows_move_with_their_templates_and_an_export_of_format_1_has_none(
    target: UnderTest, databases: Callable[[str], UnderTest], tmp_path: Path
):
    counted = databases("counted")
    with opened_store(counted.url) as store:
        store.add_templates("t", "ada", "voice", "1", units(3, 1), [2, 5, 9])
        store.add_templates("t", "ben", "voice", "1", units(1, 2), [4])
        store.add_templates("t", "ben", "voice", "1", units(1, 3))
        first = store.subject("t", "ada").templates[0].template_id
    exported(counted, tmp_path / "counted.export")
    imported(tmp_path / "counted.export", target)
    assert rows_of_references(target) == {("ada", 3, 16), ("ben", 2, None)}
    with opened_store(target.url) as store:
        kept = {2, 5, 9} - {16 - store.delete_template("t", first).reference.row_count}
    assert len(kept) == 2  # each template kept its own
    old = rewritten(tmp_path / "counted.export", tmp_path / "old.export", without_row_counts, format="matchka-export-1")
    imported(old, target, existing="replace", resurrect=True)
    assert rows_of_references(target) == {("ada", 3, None), ("ben", 2, None)}
