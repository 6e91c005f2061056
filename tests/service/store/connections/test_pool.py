"""How long connections are waited for."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from matchka.store.connections.pool import MeasuredPool


def test_pool_tells_each_wait_also_one_in_vain_and_after_it_was_made_anew(tmp_path: Path):
    waits: list[float] = []
    engine = create_engine(
        f"sqlite:///{tmp_path / 'x'}", poolclass=MeasuredPool, pool_size=1, max_overflow=1, pool_timeout=0.25
    )
    pool = engine.pool
    assert isinstance(pool, MeasuredPool)
    assert pool.most == 2
    with engine.connect():
        pass
    assert waits == []  # nobody asked
    pool.on_waited = waits.append
    with engine.connect(), engine.connect():
        assert len(waits) == 2
        with pytest.raises(PoolTimeoutError):
            engine.connect()
    assert len(waits) == 3
    assert waits[2] >= 0.25
    engine.dispose()
    assert engine.pool is not pool
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    assert len(waits) == 4
    engine.dispose()


def test_pool_that_cannot_connect_tells_the_wait_all_the_same():
    waits: list[float] = []

    def fail() -> sqlite3.Connection:
        raise sqlite3.OperationalError("away")

    pool = MeasuredPool(fail)
    pool.on_waited = waits.append
    with pytest.raises(sqlite3.OperationalError):
        pool.connect()
    assert len(waits) == 1
