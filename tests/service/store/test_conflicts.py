"""What lost against another transaction is repeated, a few times; what is wrong in itself is not."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, delete, insert
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from matchka.store.conflicts import MOST_TRIES, repeated_on_conflict
from matchka.store.schema import AttemptRow, DeletionRow, KeyErasureRow
from matchka.store.store import opened_store
from tests.factories.databases import UnderTest


class Inserting:
    """Stores a row that is there already as many times as it is told, and then another one."""

    def __init__(self, engine: Engine, conflicts: int) -> None:
        self.engine = engine
        self.conflicts = conflicts
        self.tries = 0
        store_key(engine, b"there")

    @repeated_on_conflict
    def run(self) -> int:
        self.tries += 1
        store_key(self.engine, b"there" if self.tries <= self.conflicts else b"new")
        return self.tries


def store_key(engine: Engine, key: bytes) -> None:
    with Session(engine) as session, session.begin():
        session.execute(insert(KeyErasureRow).values(key_id=key))


@pytest.mark.parametrize(("conflicts", "tries"), [(0, 1), (1, 2), (MOST_TRIES - 1, MOST_TRIES)])
def test_transaction_that_meets_others_is_repeated_until_it_meets_none(database: UnderTest, conflicts: int, tries: int):
    with opened_store(database.url) as store:
        assert Inserting(store.engines[0], conflicts).run() == tries


def test_transaction_that_always_meets_another_fails_in_the_end(database: UnderTest):
    with opened_store(database.url) as store:
        inserting = Inserting(store.engines[0], MOST_TRIES)
        with pytest.raises(IntegrityError):
            inserting.run()
        assert inserting.tries == MOST_TRIES


def test_transaction_whose_row_was_deleted_since_it_was_read_is_repeated(database: UnderTest):
    tries = []

    @repeated_on_conflict
    def count() -> None:
        tries.append(1)
        with Session(engine) as session, session.begin():
            row = session.get_one(AttemptRow, ("key", 1))
            if len(tries) == 1:
                session.connection().execute(delete(AttemptRow))  # as another process may at this moment
            row.strikes += 1

    with opened_store(database.url) as store:
        engine = store.engines[0]
        with Session(engine) as session, session.begin():
            now = datetime.now(UTC)
            session.add(AttemptRow(key_id="key", subject_key=1, level=0.0, strikes=0, updated_at=now))
        count()
        with Session(engine) as session:
            assert session.get_one(AttemptRow, ("key", 1)).strikes == 1
    assert len(tries) == 2


def test_transaction_that_is_wrong_in_itself_is_not_repeated(database: UnderTest):
    tries = []

    @repeated_on_conflict
    def wrong() -> None:
        tries.append(1)
        with Session(store.engines[0]) as session, session.begin():
            session.execute(insert(DeletionRow).values(template_id=None))

    with opened_store(database.url) as store, pytest.raises(DBAPIError):
        wrong()
    assert len(tries) == 1
