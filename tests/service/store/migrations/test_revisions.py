"""Alembic's revisions make the tables of a new database, adopt those from before it, and survive a kill."""

import hashlib
import logging
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect

from matchka.errors import StoreError
from matchka.store.engine import changing_tables, open_engine
from matchka.store.migrations.migrate import upgrade
from matchka.store.schema import SCHEMA_VERSION, Base, RevisionRow
from matchka.store.store import Store, opened_store
from matchka.store.subject_hash import SubjectHasher
from tests.factories.old_stores import make_old
from tests.factories.slow_digest import slow_digest

KEY = bytes(range(32))
OF_TODAY = Path(__file__).parents[3] / "end_to_end" / "interface_v1" / "data_folder" / "matchka.sqlite"
TABLES_WITH_ROWS = ("subjects", "templates", "subject_references", "store_identity", "deletions")


def tables_of(engine: Engine) -> dict[str, Any]:
    """All that a database says of its tables: columns with types and defaults, keys, indexes, constraints."""
    inspector = inspect(engine)
    return {
        name: {
            "columns": [column | {"type": str(column["type"])} for column in inspector.get_columns(name)],
            "key": inspector.get_pk_constraint(name),
            "foreign": inspector.get_foreign_keys(name),
            "unique": inspector.get_unique_constraints(name),
            "indexes": inspector.get_indexes(name),
            "checks": inspector.get_check_constraints(name),
            "options": inspector.get_table_options(name),
            "counted": "AUTOINCREMENT" in str(rows(engine, f"SELECT sql FROM sqlite_master WHERE name = '{name}'")),
        }
        for name in inspector.get_table_names()
    }


def rows(engine: Engine, query: str) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


@pytest.fixture
def migrated(tmp_path: Path) -> Engine:
    """A database that every revision made from nothing."""
    engine = open_engine(f"sqlite:///{tmp_path / 'migrated.sqlite'}")
    with changing_tables(engine) as connection:
        upgrade(connection)
    return engine


def test_revisions_from_nothing_make_the_tables_of_a_new_database(migrated: Engine, tmp_path: Path):
    with opened_store(f"sqlite:///{tmp_path / 'new.sqlite'}"):
        pass
    new = open_engine(f"sqlite:///{tmp_path / 'new.sqlite'}")
    assert tables_of(migrated) == tables_of(new)
    assert set(tables_of(new)) == set(Base.metadata.tables)
    for engine in (migrated, new):
        assert rows(engine, "SELECT * FROM schema_version") == [(SCHEMA_VERSION,)]
        assert rows(engine, "SELECT * FROM schema_revision") == [(str(SCHEMA_VERSION),)]
        assert len(rows(engine, "SELECT * FROM store_identity")) == 1
        engine.dispose()


def test_revisions_from_nothing_leave_alembic_nothing_to_add(migrated: Engine):
    with migrated.connect() as connection:
        options = {"version_table": RevisionRow.__tablename__, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata) == []
    migrated.dispose()


def test_newest_revision_has_the_version_that_the_program_needs():
    config = Config()
    config.set_main_option("script_location", "matchka.store:migrations")
    found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert found == [str(version) for version in range(SCHEMA_VERSION, 0, -1)]


def test_database_from_before_alembic_is_adopted_and_keeps_every_row(tmp_path: Path):
    shutil.copy(OF_TODAY, tmp_path / "kept.sqlite")
    engine = open_engine(f"sqlite:///{tmp_path / 'kept.sqlite'}")
    columns = {table: [column["name"] for column in inspect(engine).get_columns(table)] for table in TABLES_WITH_ROWS}
    columns["deletions"].remove("subject_id")
    deleted = rows(engine, "SELECT template_id, tenant, subject_id FROM deletions")
    queries = {table: f"SELECT {', '.join(names)} FROM {table}" for table, names in columns.items()}
    before = {table: rows(engine, query) for table, query in queries.items()}
    assert not inspect(engine).has_table("schema_revision")
    for _ in range(2):  # it is adopted once
        with opened_store(str(engine.url), hasher=SubjectHasher(KEY)) as store:
            store.require_sound_pages()
        assert rows(engine, "SELECT * FROM schema_version") == [(SCHEMA_VERSION,)]
        assert rows(engine, "SELECT * FROM schema_revision") == [(str(SCHEMA_VERSION),)]
    assert {table: rows(engine, query) for table, query in queries.items()} == before
    assert all(before.values())
    hashed = [(template, tenant, slow_hash(tenant, subject)) for template, tenant, subject in deleted]
    assert rows(engine, "SELECT template_id, tenant, subject_hash FROM deletions") == hashed
    engine.dispose()
    left = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    living = {subject for (subject,) in rows(engine, "SELECT subject_id FROM subjects")}
    gone = {subject for _, _, subject in deleted} - living
    engine.dispose()
    assert gone
    assert not any(str(subject).encode() in left for subject in gone)


def slow_hash(tenant: str, subject_id: str) -> str:
    """The keyed hash of an id, by RFC 2104 itself."""

    def keyed(key: bytes, message: bytes) -> bytes:
        inner, outer = (bytes(one ^ pad for one in key.ljust(64, b"\0")) for pad in (0x36, 0x5C))
        return hashlib.sha256(outer + hashlib.sha256(inner + message).digest()).digest()

    subject_key = keyed(KEY, b"matchka-subject-hash-1")
    return keyed(subject_key, len(tenant).to_bytes(2) + tenant.encode() + subject_id.encode()).hex()


@pytest.mark.parametrize("recorded", [str(SCHEMA_VERSION - 1), str(SCHEMA_VERSION + 1), "9f3c"])
def test_database_of_which_alembic_records_another_revision_is_refused_and_left_alone(tmp_path: Path, recorded: str):
    path = tmp_path / "store.sqlite"
    with opened_store(f"sqlite:///{path}"):
        pass
    connection = sqlite3.connect(path)
    connection.execute("UPDATE schema_revision SET version_num = ?", (recorded,))
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another revision") as error:
        Store(f"sqlite:///{path}")
    assert error.value.value == recorded
    assert path.read_bytes() == before


def test_migration_says_one_line_and_alembic_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
):
    make_old(tmp_path / "old.sqlite", np.ones((1, 4), "<f4"))
    with caplog.at_level(logging.INFO), opened_store(f"sqlite:///{tmp_path / 'old.sqlite'}"):
        pass
    expected = f"the database's tables go from version 1 to {SCHEMA_VERSION}"
    assert [record.getMessage() for record in caplog.records] == [expected]
    assert capfd.readouterr() == ("", "")


KILLED_AFTER = """
import os, signal, sys
from sqlalchemy import Engine, event
from matchka.store.store import Store

done = 0

@event.listens_for(Engine, "after_cursor_execute")
def count(connection, cursor, statement, *_):
    global done
    done += statement.split()[0] in ("BEGIN", "CREATE", "ALTER", "INSERT", "UPDATE", "DELETE")
    if done == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

Store(sys.argv[1]).close()
print(done)
"""


def start_and_kill(url: str, after: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", KILLED_AFTER, url, str(after)], capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_migration_that_is_killed_between_any_two_changes_is_done_by_the_next(tmp_path: Path):
    vectors = np.random.default_rng(0).normal(size=(5, 4)).astype("<f4")
    make_old(tmp_path / "old.sqlite", vectors)
    shutil.copy(tmp_path / "old.sqlite", tmp_path / "whole.sqlite")
    whole = start_and_kill(f"sqlite:///{tmp_path / 'whole.sqlite'}", -1)
    changes = int(whole.stdout)
    assert changes > 10
    for after in (*range(1, changes, 3), changes):
        path = tmp_path / f"killed-{after}.sqlite"
        shutil.copy(tmp_path / "old.sqlite", path)
        assert start_and_kill(f"sqlite:///{path}", after).returncode == -9
        connection = sqlite3.connect(path)
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(1,)]
        assert not tables & {"schema_revision", "deletions", "store_identity"}  # all or nothing
        connection.close()
        with opened_store(f"sqlite:///{path}") as store:
            np.testing.assert_array_equal(store.reference("t", "s5", "voice", "1").embedding, vectors[4] * 5)
        connection = sqlite3.connect(path)
        found = connection.execute("SELECT embedding, digest FROM subject_references").fetchall()
        connection.close()
        assert len(found) == 8
        assert all(digest == slow_digest(np.frombuffer(embedding, "<f4")) for embedding, digest in found)


@pytest.mark.parametrize("is_there", [True, False], ids=["up to date", "new"])
def test_store_that_needs_no_migration_opens_without_alembic(tmp_path: Path, is_there: bool):
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    if is_there:
        with opened_store(url):
            pass
    check = (
        "import sys; from matchka.store.store import Store; Store(sys.argv[1]).close(); print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", check, url], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
