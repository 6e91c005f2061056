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
