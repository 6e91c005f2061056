"""Whatever writes references notes whose, and nothing else: every way of writing, on every database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from matchka.errors import DuplicateSampleError, UnknownSubjectError
from matchka.store.engine import open_engine, reading
from matchka.store.rights.terms import TermsChange
from matchka.store.store import Store, opened_store
from matchka.store.transfer.exporter import write_export
from matchka.store.transfer.importer import ImportPlan, import_archive
from matchka.store.transfer.prune import prune_templates
from tests.factories.databases import UnderTest
from tests.factories.unit_vectors import unit_vectors
from tests.factories.vaults import vault_folder

units = partial(unit_vectors, dim=6)
PAST = "'2001-01-01 00:00:00.000000'"
References = dict[tuple[str, int, str], dict[str, object]]  # tenant, subject, model -> version -> embedding


@pytest.fixture
def store(database: UnderTest) -> Iterator[Store]:
    """Three subjects of two models and two versions, and one of another tenant."""
    with opened_store(database.url) as opened:
        for number in range(3):
            opened.add_templates("t", f"s{number}", "voice", "1", units(2, number))
        opened.add_templates("t", "s0", "voice", "2", units(1, 10))
        opened.add_templates("t", "s0", "face", "1", units(1, 11))
        opened.add_templates("other", "s0", "voice", "1", units(1, 12))
        yield opened


def references(database: UnderTest) -> References:
    found: References = {}
    query = """SELECT tenant, key, model, version, embedding FROM subject_references
               JOIN subjects ON subjects.key = subject_key"""
    for tenant, key, model, version, embedding in database.rows(query):
        found.setdefault((str(tenant), int(str(key)), str(model)), {})[str(version)] = embedding
    return found


@contextmanager
def noting(database: UnderTest) -> Iterator[None]:
    """Hold that those who are noted meanwhile are those whose references have changed."""
    before = references(database)
    ((last,),) = database.rows("SELECT coalesce(max(number), 0) FROM changes")
    yield
    after = references(database)
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert changed, "nothing was changed: the test looks at nothing"
    noted = set()
    for tenant, key, model in database.rows(f"SELECT tenant, subject_key, model FROM changes WHERE number > {last}"):
        for name in ("voice", "face") if model is None else (str(model),):
            noted.add((str(tenant), int(str(key)), name))
    known = before.keys() | after.keys()
    assert noted & known == changed


def test_every_way_of_writing_one_subject_notes_what_it_changes(store: Store, database: UnderTest):
    with noting(database):
        store.add_templates("t", "new", "voice", "1", units(2, 20))
    with noting(database):
        store.add_templates("t", "s0", "voice", "2", units(1, 21))
    with noting(database):
        store.delete_template("t", store.subject("t", "s1").templates[0].template_id)
    with noting(database):
        store.delete_template("t", store.subject("t", "s1").templates[0].template_id)  # the last one
    with noting(database):
        store.delete_subject("t", "s0")
    database.change(f"UPDATE subjects SET expires_at = {PAST} WHERE subject_id IN ('s2', 'new')")
    with noting(database):
        store.add_templates("t", "new", "voice", "1", units(1, 22))  # in the place of the one that has expired
    with noting(database):
        assert len(store.delete_expired(10)) == 1


def test_what_changes_no_reference_or_is_not_committed_notes_nothing(store: Store, database: UnderTest):
    before = database.rows("SELECT * FROM changes ORDER BY number")
    with pytest.raises(DuplicateSampleError):
        store.add_templates("t", "s1", "voice", "1", units(2, 1))
    with pytest.raises(UnknownSubjectError):
        store.delete_subject("t", "nobody")
    store.rights.change_terms("t", "s1", TermsChange(expires_at=datetime(2090, 1, 1, tzinfo=UTC)))
    assert store.delete_expired(10) == []
    assert database.rows("SELECT * FROM changes ORDER BY number") == before


@pytest.mark.parametrize("existing", ["skip", "replace"])
def test_import_notes_whom_it_brings_and_whom_its_deletions_take(
    store: Store, database: UnderTest, databases: Callable[[str], UnderTest], tmp_path: Path, existing: str
):
    elsewhere = databases("elsewhere")
    with opened_store(elsewhere.url) as other:
        for number in range(1, 6):
            other.add_templates("t", f"s{number}", "voice", "1", units(1, 30 + number))
        gone = store.subject("t", "s0").templates[0].template_id
    elsewhere.change(f"INSERT INTO deletions (template_id, tenant, deleted_at) VALUES ('{gone}', 't', {PAST})")
    source, target = open_engine(elsewhere.url), open_engine(database.url)
    with reading(source) as session:
        write_export(session, tmp_path / "t.export", "t", "voice", "1", lambda *_: None)
    with noting(database):
        plan = ImportPlan(tmp_path / "t.export", existing=existing)  # type: ignore[arg-type]
        report = import_archive(target, plan, {("voice", "1"): 6}, lambda *_: None, lambda *_: None)
    assert (report.removed, report.subjects) == (1, 3 if existing == "skip" else 5)
    for engine in (source, target):
        engine.dispose()


@pytest.mark.usefixtures("store")
def test_pruning_notes_whose_older_versions_go(database: UnderTest):
    engine = open_engine(database.url)
    with noting(database), Session(engine) as session, session.begin():
        assert prune_templates(session, "voice", "2", datetime.now(UTC)) == 2
    engine.dispose()


def test_subject_that_nothing_opens_any_more_is_noted_when_it_loses_its_templates(tmp_path: Path):
    folder = vault_folder(tmp_path)
    with folder.opened() as (store, vault):
        for number in range(2):
            store.add_templates("t", f"s{number}", "voice", "1", units(2, number))
        ((key_id,),) = folder.templates.rows("SELECT key_id FROM subjects WHERE subject_id = 's0'")
        assert isinstance(key_id, bytes)
        vault.destroy([key_id])
        with noting(folder.templates):
            store.add_templates("t", "s0", "voice", "1", units(1, 9))
        ((key_id,),) = folder.templates.rows("SELECT key_id FROM subjects WHERE subject_id = 's1'")
        assert isinstance(key_id, bytes)
        vault.destroy([key_id])
        with noting(folder.templates):
            store.delete_template("t", store.subject("t", "s1").templates[0].template_id)


def test_change_is_of_the_database_s_clock_and_names_nobody(store: Store, database: UnderTest):
    store.delete_subject("t", "s1")
    rows = database.rows("SELECT tenant, subject_key, model, changed_at FROM changes")
    assert {row[0] for row in rows} == {"t", "other"}
    assert all("s1" not in str(row) for row in rows)
    assert all(abs(store.rights.time.year - int(str(row[3])[:4])) <= 1 for row in rows)
