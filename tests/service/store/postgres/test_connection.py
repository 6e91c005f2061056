"""A server that is away, says no or says nothing: every wait ends by a named error, and nothing needs a restart."""

import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import String, func, make_url, select
from sqlalchemy.exc import SQLAlchemyError

from matchka.errors import MatchkaError, StorageFailedError, StorageFullError, StoreError
from matchka.store.database import Limits
from matchka.store.database_errors import as_matchka_error
from matchka.store.engine import database_of, open_engine, reading
from matchka.store.health import ANSWER_S, DatabaseHealth
from matchka.store.postgres.connection import require_unicode
from matchka.store.store import Store, opened_store
from tests.factories.databases import ServerUnderTest
from tests.factories.postgres import Cluster
from tests.factories.stalling_proxy import StallingProxy, stalling_proxy
from tests.factories.unit_vectors import unit_vectors

OF_ONE = ("t", "ada", "voice", "1")
HURRIED = Limits(pool_size=2, pool_wait_s=0.2, connect_s=2, statement_s=0.2)
PASSWORD = "SECRET"
ENDS_S = 60.0  # of a wait that would otherwise last for ever


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[StallingProxy]:
    with stalling_proxy(cluster.folder / ".s.PGSQL.5432") as running:
        yield running


@pytest.fixture
def through_proxy(postgres_url: str, proxy: StallingProxy) -> str:
    name = postgres_url.partition("@/")[2].partition("?")[0]
    return f"postgresql://matchka@127.0.0.1:{proxy.port}/{name}"


@contextmanager
def failing() -> Iterator[list[MatchkaError]]:
    """Collects the named error of what fails in the block."""
    met: list[MatchkaError] = []
    with pytest.raises(SQLAlchemyError) as failed:
        yield met
    error = as_matchka_error(failed.value)
    assert error is not None, failed.value
    met.append(error)


def test_server_that_stops_answering_is_given_up_and_found_again(through_proxy: str, proxy: StallingProxy):
    with opened_store(through_proxy, limits=HURRIED) as store:
        store.add_templates(*OF_ONE, unit_vectors(1, 1, dim=4))
        proxy.forwards.clear()
        began = time.monotonic()
        with failing() as met:
            store.reference(*OF_ONE)
        with failing():  # the next one does not wait for the connection that was given up
            store.reference(*OF_ONE)
        assert time.monotonic() - began < ENDS_S
        assert isinstance(met[0], StorageFailedError)
        proxy.forwards.set()
        assert store.reference(*OF_ONE).template_count == 1


def test_statement_that_takes_too_long_is_ended_by_the_server_and_the_connection_stays(postgres_url: str):
    engine = open_engine(postgres_url, HURRIED)
    with engine.connect() as connection:
        (before,) = connection.exec_driver_sql("SELECT pg_backend_pid()").one()
    with failing() as met, engine.connect() as connection:
        connection.exec_driver_sql("SELECT pg_sleep(60)")
    assert (type(met[0]), met[0].value) == (StorageFailedError, "57014")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT pg_backend_pid()").one() == (before,)
    engine.dispose()


def test_transactions_read_what_is_committed_whatever_the_server_s_default(postgres_url: str, cluster: Cluster):
    name = make_url(postgres_url).database
    cluster.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    engine = open_engine(postgres_url)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar_one() == "read committed"
    with reading(engine) as session:  # asks for more, for its own transaction
        assert session.connection().exec_driver_sql("SHOW transaction_isolation").scalar_one() == "repeatable read"
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar_one() == "read committed"
    engine.dispose()


def test_reading_everything_may_take_longer_than_a_statement(postgres_url: str):
    engine = open_engine(postgres_url, HURRIED)
    with reading(engine) as session:
        session.connection().exec_driver_sql("SELECT pg_sleep(2)")
    with failing(), engine.connect() as connection:  # the limits are back
        connection.exec_driver_sql("SELECT pg_sleep(60)")
    engine.dispose()


def test_reading_everything_from_a_server_that_stops_answering_is_given_up(through_proxy: str, proxy: StallingProxy):
    engine = open_engine(through_proxy, HURRIED)
    with failing() as met, reading(engine) as session:
        proxy.forwards.clear()
        session.connection().exec_driver_sql("SELECT 1")
    assert isinstance(met[0], StorageFailedError)
    proxy.forwards.set()
    engine.dispose()


def test_copy_that_a_server_stops_in_the_middle_is_given_up(through_proxy: str, proxy: StallingProxy):
    engine = open_engine(through_proxy, HURRIED)
    numbers = func.generate_series(1, 200_000).column_valued("number")
    many = select(numbers, func.repeat("x", 1_000, type_=String))  # more than sockets hold
    with failing() as met:
        for _ in database_of(engine).columns(engine, many, numbers, 1):
            proxy.forwards.clear()
    assert isinstance(met[0], StorageFailedError)
    proxy.forwards.set()
    engine.dispose()


def test_more_callers_than_connections_wait_and_are_refused(postgres_url: str):
    engine = open_engine(postgres_url, HURRIED)
    with engine.connect(), engine.connect(), failing() as met:
        engine.connect()
    assert isinstance(met[0], StorageFailedError)
    assert "MATCHKA_DATABASE__POOL_SIZE" in met[0].remedy
    engine.dispose()


def test_server_that_was_killed_while_nothing_was_asked_is_found_again_without_a_failure(cluster: Cluster):
    cluster.execute("CREATE DATABASE to_be_cut")
    url = cluster.url("to_be_cut")
    try:
        with opened_store(url) as store:
            store.add_templates(*OF_ONE, unit_vectors(1, 1, dim=4))
            time.sleep(1.1)  # longer than a connection is taken to be alive without a look
            cluster.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'to_be_cut'")
            assert store.reference(*OF_ONE).template_count == 1
    finally:
        cluster.execute("DROP DATABASE to_be_cut WITH (FORCE)")


def test_server_that_is_not_there_is_said_at_the_start_and_afterwards(tmp_path: Path):
    url = f"postgresql://matchka@/matchka?host={tmp_path}"
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(url)
    with failing() as met, open_engine(url).connect():
        pass
    assert isinstance(met[0], StorageFailedError)


def test_database_that_is_not_there_is_named(cluster: Cluster):
    with pytest.raises(StoreError) as refused:
        Store(cluster.url("nowhere"))
    assert '"nowhere" does not exist' in str(refused.value)


def test_url_of_another_driver_is_refused():
    with pytest.raises(StoreError, match="psycopg 3"):
        open_engine("postgresql+psycopg2://host/db")


@pytest.mark.parametrize(
    "address",
    [
        "u:SEC@RET@127.0.0.1:1/db",  # as people write it: everything behind the first @ is the host
        "u:SEC@RET:x@127.0.0.1/db",  # and the port
        "u:SEC:RET@127.0.0.1:one/db",
        "u:SECRET@127.0.0.1:1/db",
        "u:SECRET@127.0.0.1:99999999/db",
        "u:SECRET@127.0.0.1:1/db?nonsense=1",
        "u:SECRET@127.0.0.1:1/db?sslmode=nonsense",
        "u@127.0.0.1:1/db?password=SECRET",
        "u:SECRET@/db?host=/nowhere&options=-c%20nonsense",
    ],
)
def test_password_of_a_url_that_leads_nowhere_is_in_no_error(address: str, caplog: pytest.LogCaptureFixture):
    with pytest.raises(StoreError) as refused:
        Store(f"postgresql://{address}")
    told = "".join(traceback.format_exception(refused.value)) + str(refused.value.value) + caplog.text
    assert not [part for part in ("SEC", "RET") if part in told]


def test_password_that_the_server_refuses_is_in_no_error(cluster: Cluster, caplog: pytest.LogCaptureFixture):
    known, unknown = (
        cluster.url("nowhere").replace("matchka@", f"{user}:{PASSWORD}@") for user in ("matchka", "nobody")
    )
    assert PASSWORD in known
    with pytest.raises(StoreError) as refused:
        Store(known)
    with failing() as met, open_engine(unknown).connect():
        pass
    told = "".join(traceback.format_exception(refused.value)) + str(met[0]) + caplog.text
    assert '"nowhere" does not exist' in told
    assert PASSWORD not in told


@pytest.mark.parametrize(
    ("state", "expected", "said"),
    [
        ("53100", StorageFullError, "full"),
        ("25006", StorageFailedError, "read only"),
        ("57P01", StorageFailedError, "cannot be read or written now"),
        ("40P01", StorageFailedError, "cannot be read or written now"),
    ],
)
def test_what_the_server_refuses_is_named_and_nothing_is_stored(
    postgres_url: str, state: str, expected: type[MatchkaError], said: str
):
    """A trigger that raises what a full disk, or a replica, raises: the same way through the driver."""
    database = ServerUnderTest(postgres_url)
    with opened_store(postgres_url) as store:
        store.add_templates(*OF_ONE, unit_vectors(1, 1, dim=4))
        database.refuse("INSERT", "templates", "refused", state)
        with failing() as met:
            store.add_templates(*OF_ONE, unit_vectors(1, 2, dim=4))
        assert type(met[0]) is expected
        assert said in met[0].detail
        assert store.reference(*OF_ONE).template_count == 1


def test_database_that_may_only_be_read_is_served_and_refuses_to_change(postgres_url: str):
    with opened_store(postgres_url) as store:
        store.add_templates(*OF_ONE, unit_vectors(1, 1, dim=4))
    read_only = f"{postgres_url}&options=-c%20default_transaction_read_only%3Don"
    with opened_store(read_only) as store:
        assert store.reference(*OF_ONE).template_count == 1
        with failing() as met:
            store.delete_subject("t", "ada")
        assert "read only" in met[0].detail


def test_health_is_said_in_time_whatever_the_server_does(through_proxy: str, proxy: StallingProxy):
    engine = open_engine(through_proxy)
    with closing(DatabaseHealth([engine])) as health:
        answer, _ = health.ask()
        answer.result(ENDS_S)
        proxy.forwards.clear()
        first, wait_s = health.ask()
        again, _ = health.ask()
        assert again is first  # whoever asks meanwhile waits for the same answer
        assert 0 < wait_s <= ANSWER_S
        with pytest.raises(StorageFailedError):
            first.result(ENDS_S)
        proxy.forwards.set()
        for _ in range(100):
            answer, _ = health.ask()
            if answer.exception(ENDS_S) is None:
                break
        answer.result()
    engine.dispose()


def test_health_is_asked_beside_a_pool_that_is_in_use(postgres_url: str):
    engine = open_engine(postgres_url, HURRIED)
    with (
        engine.connect(),
        engine.connect(),
        closing(DatabaseHealth([engine])) as health,
        ThreadPoolExecutor(4) as callers,
    ):
        assert list(callers.map(lambda _: health.ask()[0].result(ENDS_S), range(20))) == [None] * 20
    engine.dispose()


def test_encoding_that_a_pooler_does_not_hand_on_is_not_held_against_the_database():
    require_unicode(None)
    require_unicode("UTF8")
    with pytest.raises(StoreError):
        require_unicode("LATIN1")
