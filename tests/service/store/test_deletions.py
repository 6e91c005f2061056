"""The deletion log: written with the deletion or not at all, without vectors, and enough to undo a revival."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from matchka.errors import UnknownSubjectError, UnknownTemplateError
from matchka.store.deletions import (
    Deletion,
    deletions_in,
    forget_deletions,
    living_deletions,
    merge_deletions,
    remove_templates,
)
from matchka.store.store import Store, opened_store
from matchka.store.subject_hash import SubjectHasher
from tests.factories.databases import FileUnderTest, UnderTest
from tests.factories.unit_vectors import unit_vectors

DIM = 5
HASHER = SubjectHasher(b"k" * 32)
HASHED = HASHER.hash_of("t", "ada")
units = partial(unit_vectors, dim=DIM)


@pytest.fixture
def store(database: UnderTest) -> Iterator[Store]:
    with opened_store(database.url, hasher=HASHER) as opened:
        yield opened


@pytest.fixture
def session(database: UnderTest) -> Iterator[Session]:
    engine = create_engine(database.url)
    with Session(engine) as opened:
        yield opened
    engine.dispose()


def noted_deletions(database: UnderTest) -> list[tuple[object, ...]]:
    return database.rows("SELECT template_id, tenant, subject_hash FROM deletions ORDER BY 1")


def test_deleted_subject_is_noted_with_every_template_of_every_model(store: Store, database: UnderTest):
    ids = [
        *store.add_templates("t", "ada", "voice", "1", units(2)).template_ids,
        *store.add_templates("t", "ada", "face", "7", units(1)).template_ids,
    ]
    store.add_templates("t", "kept", "voice", "1", units(1))
    before = datetime.now(UTC)
    store.delete_subject("t", "ada")
    assert noted_deletions(database) == sorted((template_id, "t", HASHED) for template_id in ids)
    engine = create_engine(database.url)
    with Session(engine) as session:
        times = {deletion.deleted_at for deletion in deletions_in(session)}
    engine.dispose()
    assert all(before <= time <= datetime.now(UTC) for time in times)


def test_deleted_template_is_noted_alone(store: Store, database: UnderTest):
    ids = store.add_templates("t", "ada", "voice", "1", units(3)).template_ids
    store.delete_template("t", ids[1])
    assert noted_deletions(database) == [(ids[1], "t", HASHED)]


def test_deletion_that_is_refused_notes_nothing(store: Store, database: UnderTest):
    (foreign,) = store.add_templates("other", "ada", "voice", "1", units(1)).template_ids
    with pytest.raises(UnknownSubjectError):
        store.delete_subject("t", "ada")
    with pytest.raises(UnknownTemplateError):
        store.delete_template("t", foreign)
    assert noted_deletions(database) == []


def test_deletion_and_its_note_are_one_transaction(store: Store, database: UnderTest):
    ids = store.add_templates("t", "ada", "voice", "1", units(2)).template_ids
    database.refuse("DELETE", "subjects", "no subject may go")
    with pytest.raises(Exception, match="no subject may go"):
        store.delete_subject("t", "ada")
    assert noted_deletions(database) == []
    assert [t.template_id for t in store.subject("t", "ada").templates] == sorted(
        ids, key=[t.template_id for t in store.subject("t", "ada").templates].index
    )


def test_deletion_log_holds_no_vector(tmp_path: Path):
    database = FileUnderTest(tmp_path / "store.sqlite")
    rows = units(2)
    with opened_store(database.url, hasher=HASHER) as store:
        store.add_templates("t", "ada", "voice", "1", rows)
        store.delete_subject("t", "ada")
        columns = {row[1] for row in database.rows("PRAGMA table_info(deletions)")}
        assert columns == {"template_id", "tenant", "deleted_at", "subject_hash"}
        content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert not any(row.tobytes() in content for row in rows)


def test_merging_deletion_logs_is_their_union_and_merging_again_adds_nothing(store: Store, session: Session):
    ids = store.add_templates("t", "ada", "voice", "1", units(2)).template_ids
    store.delete_template("t", ids[0])
    others = [Deletion(f"{n:032x}", "t", datetime(2026, 1, 1, tzinfo=UTC)) for n in range(1200)]
    assert merge_deletions(session, others) == 1200
    assert merge_deletions(session, [*others, *deletions_in(session)]) == 0
    assert {d.template_id for d in deletions_in(session)} == {ids[0], *(d.template_id for d in others)}
    forget_deletions(session, [d.template_id for d in others])
    assert [d.template_id for d in deletions_in(session)] == [ids[0]]


def test_living_deletions_are_those_whose_template_is_still_there(store: Store, session: Session):
    ids = store.add_templates("t", "ada", "voice", "1", units(3)).template_ids
    merge_deletions(session, [Deletion(i, "t", datetime.now(UTC)) for i in (ids[2], ids[0], "f" * 32)])
    assert living_deletions(session) == sorted([ids[0], ids[2]])


def test_removing_templates_leaves_means_of_the_rest_and_no_empty_subject(store: Store, session: Session):
    rows = units(4)
    ids = store.add_templates("t", "ada", "voice", "1", rows).template_ids
    face = store.add_templates("t", "ada", "face", "1", units(1, 3)).template_ids
    gone = store.add_templates("t", "gone", "voice", "1", units(700, 4)).template_ids  # more than one statement takes
    store.add_templates("t", "kept", "voice", "1", units(1, 5))
    assert remove_templates(session, [ids[1], ids[3], *face, *gone, "f" * 32]) == 703
    session.commit()
    assert [s.subject_id for s in store.subjects("t", 10, None)] == ["ada", "kept"]
    found = store.reference("t", "ada", "voice", "1")
    mean = [(float(rows[0][c]) + float(rows[2][c])) / 2 for c in range(DIM)]
    assert found.template_count == 2
    np.testing.assert_allclose(found.embedding, mean, atol=1e-6)
    assert {t.model for t in store.subject("t", "ada").templates} == {"voice"}
