"""A store of version 9 with people gets the feed, empty, and keeps all that it has."""

from pathlib import Path

from tests.factories.databases import UnderTest
from tests.factories.replicas import replicas
from tests.factories.samples import sample

TABLES = ("subjects", "templates", "deletions", "store_identity", "audit_log")
BACK_TO_9 = (
    "DROP TABLE enrolment_answers",
    "DROP TABLE idempotency_keys",
    "DROP TABLE changes",
    "DROP TABLE change_horizon",
    "UPDATE schema_version SET version = 9",
    "UPDATE schema_revision SET version_num = '9'",
)


def content(database: UnderTest) -> dict[str, list[tuple[object, ...]]]:
    return {table: database.rows(f"SELECT * FROM {table} ORDER BY 1") for table in TABLES}


def test_store_of_version_9_keeps_all_it_has_and_is_followed_from_then_on(tmp_path: Path, database: UnderTest):
    with replicas(tmp_path, database.url) as another:
        before = another()
        for person in range(3):
            before.enroll("default", "voice", f"p{person}", [sample(person)])
        before.delete_subject("default", "p0")
    for statement in BACK_TO_9:
        database.change(statement)
    held = content(database)
    with replicas(tmp_path / "newer", database.url) as another:
        here, there = another(), another()
        assert content(database) == held
        assert database.rows("SELECT count(*) FROM changes") == [(0,)]
        assert here.gallery_sizes() == {("default", "voice"): 2}
        position = here.enroll("default", "voice", "p3", [sample(3)]).position
        assert position is not None
        there.wait_for(position)
        found = there.identify("default", "voice", sample(3, 1), 5, None, 0.01)
        assert (found.candidates[0].subject_id, found.gallery_size) == ("p3", 3)
