"""Tables of a PostgreSQL server from one version to the next: whole or not at all, by one of many that start."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier

import numpy as np
import pytest
from sqlalchemy import Engine, event, inspect, text

from matchka.store.engine import changing_tables, open_engine
from matchka.store.migrations import migrate
from matchka.store.schema import SCHEMA_VERSION
from matchka.store.store import Store, opened_store
from tests.factories.postgres import Cluster, fresh_database
from tests.factories.unit_vectors import unit_vectors

KEYS = (5, 6, 9)
MANY = 6


def unit(seed: int) -> np.ndarray:
    return unit_vectors(1, seed, dim=4)[0]


@pytest.fixture
def old(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of version 1 with three subjects of one template each."""
    engine = open_engine(postgres_url)
    with monkeypatch.context() as patched, changing_tables(engine) as connection:
        patched.setattr(migrate, "SCHEMA_VERSION", 1)
        migrate.upgrade(connection)
        for key in KEYS:
            values = {"key": key, "name": f"s{key}", "id": f"{key:032x}", "row": unit(key).tobytes()}
            for statement in (
                "INSERT INTO subjects VALUES (:key, 't', :name, now())",
                "INSERT INTO templates VALUES (:id, :key, 'voice', '1', :row, now())",
                "INSERT INTO subject_references VALUES (:key, 'voice', '1', 1, :row)",
            ):
                connection.execute(text(statement), values)
        connection.exec_driver_sql("SELECT setval('subjects_key_seq', 9)")
    engine.dispose()
    return postgres_url


def columns(url: str) -> dict[str, list[tuple[str, str, bool]]]:
    engine = open_engine(url)
    inspector = inspect(engine)
    found = {
        table: sorted(
            (column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)
        )
        for table in inspector.get_table_names()
    }
    engine.dispose()
    return found


def test_store_of_version_1_is_brought_up_to_date_once_by_many_that_start_together(old: str, cluster: Cluster):
    together = Barrier(MANY)

    def start(_number: int) -> str:
        together.wait(60)
        with closing(Store(old)) as store:
            for key in KEYS:
                np.testing.assert_array_equal(store.reference("t", f"s{key}", "voice", "1").embedding, unit(key))
            return store.identity

    with ThreadPoolExecutor(MANY) as executor:
        assert len(set(executor.map(start, range(MANY)))) == 1
    with fresh_database(cluster) as new:
        Store(new).close()
        assert columns(old) == columns(new)


def test_migration_that_is_cut_short_leaves_the_tables_as_they_were_and_the_next_start_does_it(old: str):
    before = columns(old)

    def interrupt(*call: object) -> None:
        if "api_keys" in str(call[2]) and "CREATE" in str(call[2]):
            raise KeyboardInterrupt

    event.listen(Engine, "before_cursor_execute", interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            Store(old)
    finally:
        event.remove(Engine, "before_cursor_execute", interrupt)
    assert columns(old) == before
    with opened_store(old) as store:
        assert [one.subject_id for one in store.subjects("t", 9, None)] == ["s5", "s6", "s9"]
    engine = open_engine(old)
    assert migrate.version_of_tables(engine) == SCHEMA_VERSION
    engine.dispose()
