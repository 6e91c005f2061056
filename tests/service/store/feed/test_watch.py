"""Whether anything was committed is told without a look at the tables: by SQLite's own count, by others never."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from matchka.store.database import Limits
from matchka.store.engine import open_engine
from matchka.store.feed.changes import note_changes
from matchka.store.feed.feed import ChangeFeed
from matchka.store.store import opened_store
from matchka.store.vault.vault import CLEAR

COMMIT = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('CREATE TABLE of_another (x)'); c.commit()"


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'matchka.sqlite'}"
    with opened_store(url):
        pass
    return url


def committed(engine: Engine, key: int) -> None:
    with Session(engine) as session, session.begin():
        note_changes(session, "t", [key], "voice")


def test_mark_is_another_after_each_commit_of_this_process_or_another_and_only_then(url: str, tmp_path: Path):
    engine = open_engine(url)
    with closing(ChangeFeed(engine, CLEAR, Limits())) as feed:
        before = feed.mark()
        assert before is not None
        feed.state()
        with Session(engine) as session:
            session.execute(text("SELECT count(*) FROM changes"))
            note_changes(session, "t", [1], "voice")  # and is rolled back
        assert feed.mark() == before
        committed(engine, 2)
        after = feed.mark()
        assert after != before
        assert feed.mark() == after
        subprocess.run([sys.executable, "-c", COMMIT, tmp_path / "matchka.sqlite"], check=True)
        assert feed.mark() not in (before, after)
        committed(engine, 3)
        feed.mark()
        with engine.connect() as connection:
            is_busy, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        assert not is_busy
    engine.dispose()


def test_nothing_is_known_where_the_file_cannot_be_read(url: str, tmp_path: Path):
    engine = open_engine(url)
    feed = ChangeFeed(engine, CLEAR, Limits())
    (tmp_path / "matchka.sqlite").write_bytes(b"no database at all, but some other file" * 100)
    (tmp_path / "matchka.sqlite-wal").unlink(missing_ok=True)
    with closing(feed):
        assert feed.mark() is None
    engine.dispose()


def test_nothing_is_known_where_another_file_has_taken_the_name(url: str, tmp_path: Path):
    with opened_store(f"sqlite:///{tmp_path / 'another.sqlite'}"):
        pass
    engine = open_engine(url)
    with closing(ChangeFeed(engine, CLEAR, Limits())) as feed:
        assert feed.mark() is not None
        (tmp_path / "another.sqlite").replace(tmp_path / "matchka.sqlite")
        assert feed.mark() is None
    engine.dispose()


def test_file_is_watched_by_an_address_of_sqlites_own_kind(url: str, tmp_path: Path):
    del url  # the file is there
    engine = open_engine(f"sqlite:///file:{tmp_path / 'matchka.sqlite'}?uri=true")
    with closing(ChangeFeed(engine, CLEAR, Limits())) as feed:
        before = feed.mark()
        assert before is not None
        committed(engine, 1)
        assert feed.mark() != before
    engine.dispose()


def test_server_is_never_known_to_be_unchanged(postgres_url: str):
    with opened_store(postgres_url):
        pass
    engine = open_engine(postgres_url)
    with closing(ChangeFeed(engine, CLEAR, Limits())) as feed:
        assert feed.mark() is None
    engine.dispose()
