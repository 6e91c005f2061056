"""Every reference of a model, read while others write."""

from contextlib import closing

import pytest

from matchka.store import references
from matchka.store.store import Store
from tests.factories.databases import UnderTest
from tests.factories.unit_vectors import unit_vectors


def test_tenant_that_comes_while_references_of_the_only_one_are_read_is_left_to_the_feed(
    database: UnderTest, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(references, "ROWS_AT_ONCE", 4)
    rows = unit_vectors(10, 1, dim=4)
    with closing(Store(database.url)) as store:
        for number in range(9):
            store.add_templates("a", f"s{number}", "voice", "1", rows[[number]])
        batches = store.all_references("voice", "1")
        read = [next(batches)]
        store.add_templates("b", "bob", "voice", "1", rows[[9]])
        read += batches
        assert {batch.tenant for batch in read} == {"a"}
        assert sum(len(batch.rows()) for batch in read) == 9
        both = [(batch.tenant, len(batch.rows())) for batch in store.all_references("voice", "1")]
        assert sum(count for tenant, count in both if tenant == "a") == 9
        assert sum(count for tenant, count in both if tenant == "b") == 1


def test_subjects_without_a_version_are_those_that_have_only_others_of_the_model(database: UnderTest):
    rows = unit_vectors(9, 1, dim=4)
    enrolled = {
        ("a", "new"): [("voice", "2")],
        ("a", "both"): [("voice", "1"), ("voice", "2")],
        ("a", "old"): [("voice", "1")],
        ("b", "newer"): [("voice", "10"), ("voice", "3")],
        ("b", "other"): [("face", "1")],
    }
    with closing(Store(database.url)) as store:
        assert store.subjects_without("voice", "2") == []
        for (tenant, subject), versions in enrolled.items():
            for model, version in versions:
                store.add_templates(tenant, subject, model, version, rows[:1])

        def without(model: str, version: str) -> set[tuple[str, str]]:
            names = {(name[0], key): name for key, name in enumerate(enrolled, start=1)}  # in a new database
            found = [names[one] for one in store.subjects_without(model, version)]
            assert len(set(found)) == len(found)
            return set(found)

        assert without("voice", "2") == {("a", "old"), ("b", "newer")}
        assert without("voice", "1") == {("a", "new"), ("b", "newer")}
        assert without("voice", "4") == {("a", "new"), ("a", "both"), ("a", "old"), ("b", "newer")}
        assert without("face", "1") == set()
