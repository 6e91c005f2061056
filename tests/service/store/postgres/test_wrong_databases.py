"""A database that is somebody else's, may not be written, is full or too old: said, and nothing in it is changed."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import SQLAlchemyError

from matchka.errors import MatchkaError, StorageFailedError, StorageFullError, StoreError
from matchka.store.database_errors import as_matchka_error
from matchka.store.engine import changing_tables, open_engine
from matchka.store.key_store.key_store import KeyStore
from matchka.store.migrations import migrate
from matchka.store.postgres.connection import require_supported
from matchka.store.schema import SCHEMA_VERSION
from matchka.store.store import Store, opened_store
from tests.factories.checkout import ROOT
from tests.factories.databases import ServerUnderTest, UnderTest
from tests.factories.postgres import Cluster, started_cluster
from tests.factories.unit_vectors import unit_vectors

OF_ONE = ("t", "ada", "voice", "1")
ROOM_MIB = 40
# opens its first argument, and kills itself before the statement that its second begins
KILLED = """
import os, sys
from sqlalchemy import Engine, event
from matchka.store.store import Store

@event.listens_for(Engine, "before_cursor_execute")
def look(connection, cursor, statement, parameters, context, many):
    if sys.argv[2] in statement:
        os.kill(os.getpid(), 9)

Store(sys.argv[1])
"""


def error_of(failed: pytest.ExceptionInfo[SQLAlchemyError]) -> MatchkaError:
    error = as_matchka_error(failed.value)
    assert error is not None, failed.value
    return error


@pytest.mark.parametrize("table", ["people (id integer)", "subjects (id integer)", "key_store (id integer)"])
@pytest.mark.parametrize("opens", [Store, KeyStore])
def test_database_of_another_application_is_refused_and_left_as_it_is(
    database: UnderTest, table: str, opens: type[Store] | type[KeyStore]
):
    database.change(f"CREATE TABLE {table}")
    with pytest.raises(StoreError) as refused:
        opens(database.url)
    assert "another application" in str(refused.value) or "cannot be opened" in str(refused.value)
    engine = open_engine(database.url)
    with engine.connect() as connection:
        assert engine.dialect.get_table_names(connection) == [table.split()[0]]
    engine.dispose()


@pytest.fixture
def limited(postgres_url: str, cluster: Cluster) -> Iterator[str]:
    """The URL of a user who may connect, and nothing else."""
    name = f"limited{os.getpid()}"
    cluster.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'SECRET'")
    yield postgres_url.replace("matchka@", f"{name}:SECRET@")
    ServerUnderTest(postgres_url).change(f"DROP OWNED BY {name}")
    cluster.execute(f"DROP ROLE {name}")


def test_user_who_may_make_no_tables_is_told_so_without_the_password(limited: str):
    with pytest.raises(StoreError) as refused:
        Store(limited)
    assert "42501" in str(refused.value)
    assert "SECRET" not in str(refused.value)


def test_user_who_may_only_read_is_served_and_refused_to_write(limited: str, postgres_url: str):
    with opened_store(postgres_url) as store:
        store.add_templates(*OF_ONE, unit_vectors(1, 1, dim=4))
    name = limited.split("//")[1].split(":")[0]
    ServerUnderTest(postgres_url).change(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    with opened_store(limited) as store:
        assert store.reference(*OF_ONE).template_count == 1
        with pytest.raises(SQLAlchemyError) as failed:
            store.add_templates(*OF_ONE, unit_vectors(1, 2, dim=4))
        assert error_of(failed).value == "42501"


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
@pytest.mark.parametrize("opens", [Store, KeyStore])
def test_database_that_cannot_hold_every_name_is_refused(
    cluster: Cluster, encoding: str, opens: type[Store] | type[KeyStore]
):
    name = f"of_another_encoding_{os.getpid()}"
    cluster.execute(f"CREATE DATABASE {name} ENCODING {encoding} LOCALE 'C' TEMPLATE template0")
    try:
        with pytest.raises(StoreError, match="not UTF8") as refused:
            opens(cluster.url(name))
        assert refused.value.value == encoding
        found = ServerUnderTest(f"{cluster.url(name)}&client_encoding=utf8")
        assert found.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []
    finally:
        cluster.execute(f"DROP DATABASE {name}")


def test_standby_is_said_to_be_one_that_is_read_only():
    with started_cluster() as cluster:
        Store(cluster.url()).close()
        cluster.stop()
        (cluster.folder / "data" / "standby.signal").touch()
        cluster.start()
        with opened_store(cluster.url()) as store, pytest.raises(SQLAlchemyError) as failed:
            store.feed.state()
        error = error_of(failed)
        assert isinstance(error, StorageFailedError)
        assert "read only" in str(error)
        assert error.value == "55000"


@pytest.mark.parametrize("statement", ["SELECT currval('places')", "SELECT * FROM unfilled"])
def test_object_that_is_not_ready_is_not_said_to_be_a_database_that_is_read_only(postgres_url: str, statement: str):
    server = ServerUnderTest(postgres_url)
    server.change("CREATE SEQUENCE places")
    server.change("CREATE MATERIALIZED VIEW unfilled AS SELECT 1 WITH NO DATA")
    engine = open_engine(postgres_url)
    with pytest.raises(SQLAlchemyError) as failed, engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
    error = error_of(failed)
    assert isinstance(error, StorageFailedError)
    assert "read only" not in str(error)
    assert error.value == "55000"


@pytest.mark.parametrize(("version", "said"), [(120_022, "12.22"), (90_603, "9.603")])
def test_server_that_is_too_old_is_refused(version: int, said: str):
    with pytest.raises(StoreError, match="older than PostgreSQL 13") as refused:
        require_supported(version)
    assert refused.value.value == said
    require_supported(130_000)


@pytest.mark.slow
@pytest.mark.parametrize("before", ["ALTER TABLE", "CREATE TABLE changes", "change_horizon"])
def test_migration_whose_process_is_killed_changes_nothing_and_the_next_start_does_it(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, before: str
):
    engine = open_engine(postgres_url)
    with monkeypatch.context() as patched, changing_tables(engine) as connection:
        patched.setattr(migrate, "SCHEMA_VERSION", 8)
        migrate.upgrade(connection)
    tables = engine.dialect.get_table_names
    with engine.connect() as connection:
        old = tables(connection)
    command = [sys.executable, "-c", KILLED, postgres_url, before]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert migrate.version_of_tables(engine) == 8
    with engine.connect() as connection:
        assert tables(connection) == old
    Store(postgres_url).close()
    assert migrate.version_of_tables(engine) == SCHEMA_VERSION
    engine.dispose()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system that is soon full, which only root can make."""
    if os.getuid():
        pytest.skip("a small file system is mounted by root alone")
    with tempfile.TemporaryDirectory(prefix="small", dir="/tmp") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM_MIB}m", "tmpfs", folder]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def fill(store: Store, stored: list[str]) -> None:
    for number in range(1_000):
        store.add_templates("t", f"s{number}", "voice", "1", unit_vectors(32, number, dim=1024))
        stored.append(f"s{number}")


@pytest.mark.slow
def test_full_disk_of_the_server_is_said_while_it_is_read_and_goes_on_when_there_is_room(
    cluster: Cluster, small_disk: Path
):
    owner = cluster.folder.stat()
    os.chown(small_disk, owner.st_uid, owner.st_gid)
    cluster.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
    cluster.execute("CREATE DATABASE crowded TABLESPACE small")
    try:
        with closing(Store(cluster.url("crowded"))) as store:
            stored: list[str] = []
            with pytest.raises(SQLAlchemyError) as failed:
                fill(store, stored)
            assert isinstance(error_of(failed), StorageFullError)
            assert stored
            assert store.reference("t", "s0", "voice", "1").template_count == 32
            with pytest.raises(SQLAlchemyError) as failed:
                store.delete_subject("t", "s0")  # a server writes rows anew to delete them, and notes the deletion
            assert isinstance(error_of(failed), StorageFullError)
            remount = ["mount", "-o", f"remount,size={4 * ROOM_MIB}m", small_disk]
            subprocess.run(remount, check=True)
            store.delete_subject("t", "s0")
            assert len(store.subjects("t", 1_000, None)) == len(stored) - 1
    finally:
        cluster.execute("DROP DATABASE crowded WITH (FORCE)")
        cluster.execute("DROP TABLESPACE small")
