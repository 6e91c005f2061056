"""Reading the change feed, and the references of whoever changed, on connections of its own."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Executable,
    bindparam,
    delete,
    func,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.orm import Session

from matchka.errors import StorageDamagedError
from matchka.store.clock import time_of
from matchka.store.database import Hints, Limits
from matchka.store.deletions import in_chunks
from matchka.store.engine import database_of, open_engine
from matchka.store.feed.snapshot import IDENTITY_DIGITS, Position, Snapshot
from matchka.store.queries import to_references, versions_query
from matchka.store.schema import ChangeHorizonRow, ChangeRow, IdentityRow
from matchka.store.vault.sealed import Binding
from matchka.store.vault.vault import Vault
from matchka.vectors import FloatArray

CHANGES_AT_ONCE: Final = 2_000
CONNECTIONS: Final = 2  # the follower's; and one for whoever asks beside it

# subject key -> version -> reference, float32, (full_dim,); None where what is stored cannot be used
References: TypeAlias = Mapping[int, Mapping[str, FloatArray] | None]


@dataclass(frozen=True)
class Change:
    """Whom to look at again. Attributes: model: of which model; None for every one."""

    tenant: str
    subject_key: int
    model: str | None


@dataclass(frozen=True)
class FeedState:
    """What one look at the store finds.

    Attributes:
        identity: the store's name.
        origin: where its transactions get their numbers from: a promoted standby goes on with those it has lost.
        forgotten: up to which transaction changes may be missing because of their age; None where none is.
    """

    identity: str
    snapshot: Snapshot
    forgotten: int | None
    origin: str = ""

    @property
    def position(self) -> Position:
        """What callers are told of it."""
        return Position(self.identity[:IDENTITY_DIGITS], self.snapshot)

    def follows(self, before: "FeedState") -> bool:
        """Whether the feed has every change since a state before: else galleries have to be filled anew.

        It has not where the store was replaced, where the database lost transactions as a standby was promoted, and
        where changes were forgotten that had not been seen.
        """
        # what runs still has committed nothing, so that nothing of it can have been forgotten
        ended = before.snapshot.running - self.snapshot.running
        is_known = self.forgotten is None or (
            self.forgotten < before.snapshot.next_id and all(one > self.forgotten for one in ended)
        )
        is_same = (self.identity, self.origin) == (before.identity, before.origin)
        return is_same and is_known and self.snapshot.includes(before.snapshot)


class ChangeFeed:
    """The changes of one store, for one follower.

    Args:
        engine: of the store.
        vault: of the store.
        limits: of the waits for a database server.
    """

    def __init__(self, engine: Engine, vault: Vault, limits: Limits) -> None:
        bounds = Limits(CONNECTIONS, limits.pool_wait_s, limits.connect_s, limits.statement_s)
        # a busy pool must not keep the galleries from following
        self._engine = open_engine(engine.url.render_as_string(hide_password=False), bounds)
        self._vault = vault
        self._database = database_of(engine)
        self._watch = self._database.watch(self._engine)
        self._queries = _Queries.of(self._database.snapshot, self._database.origin)

    def close(self) -> None:
        """Close its connections."""
        self._watch.close()
        self._engine.dispose()

    @contextmanager
    def look(self) -> Iterator["FeedLook"]:
        """A look at the store; each question that is asked in it sees what is committed by then."""
        with self._engine.connect() as connection:
            yield FeedLook(connection.execution_options(isolation_level="AUTOCOMMIT"), self._vault, self._queries)

    def state(self) -> FeedState:
        """What the store holds now."""
        with self.look() as look:
            return look.state()

    def mark(self) -> int | None:
        """The same as before only where nothing was committed in between, a look finds nothing then; None: unknown."""
        return self._watch.mark()

    def hints(self) -> Hints:
        """What tells of changes sooner than looking does; the caller starts and closes it."""
        return self._database.hints(self._engine)


@dataclass(frozen=True)
class _Queries:
    """Made once: to make them takes longer than most of them do."""

    state: Executable
    new: Executable
    late: Executable
    versions: Executable

    @classmethod
    def of(cls, snapshot: str, origin: str) -> "_Queries":
        shown: ColumnElement[str] = literal_column(snapshot)
        numbered: ColumnElement[str] = literal_column(origin)
        identity = select(IdentityRow.identity).scalar_subquery()
        state = select(shown, identity, select(func.max(ChangeHorizonRow.transaction_id)).scalar_subquery(), numbered)
        place = tuple_(ChangeRow.transaction_id, ChangeRow.number)
        behind = place > tuple_(bindparam("last_id"), bindparam("last_number"))
        columns = (ChangeRow.transaction_id, ChangeRow.number, ChangeRow.tenant, ChangeRow.subject_key, ChangeRow.model)
        page = select(*columns).where(behind).order_by(ChangeRow.transaction_id, ChangeRow.number)
        page = page.limit(CHANGES_AT_ONCE)  # in the order of an index, without reading those before them
        late = page.where(ChangeRow.transaction_id.in_(bindparam("late", expanding=True)))
        between = (ChangeRow.transaction_id >= bindparam("next_id"), ChangeRow.transaction_id < bindparam("end_id"))
        return cls(state, page.where(*between), late, versions_query())


class FeedLook:
    """One connection's look at the feed.

    Args:
        connection: to the store; each statement is a transaction.
        vault: of the store.
        queries: made once.
    """

    def __init__(self, connection: Connection, vault: Vault, queries: _Queries) -> None:
        self._connection = connection
        self._vault = vault
        self._queries = queries

    def state(self) -> FeedState:
        """What the store holds now."""
        snapshot, identity, forgotten, origin = self._connection.execute(self._queries.state).one()
        return FeedState(identity, Snapshot.parse(snapshot), forgotten, origin)

    def changes(self, since: Snapshot, until: Snapshot) -> Iterator[tuple[Sequence[Change], int]]:
        """What has changed between two snapshots, some thousands at a time, and how many more there are at least.

        What came later may be among it. A feed that grows meanwhile is not followed to its end. To apply a change is to
        read what is there now, so that neither their order nor a repetition does harm.
        """
        late = since.running - until.running  # they had their numbers, and have ended meanwhile
        if late:
            yield from self._pages(self._queries.late, {"late": sorted(late)})
        if until.next_id > since.next_id:
            yield from self._pages(self._queries.new, {"next_id": since.next_id, "end_id": until.next_id})

    def references(self, tenant: str, subject_keys: Sequence[int], model: str) -> References:
        """The references of some subjects for a model by version; subjects that have none are left out."""
        found: dict[int, dict[str, FloatArray] | None] = {}
        for keys in in_chunks(subject_keys):
            try:
                found |= self._references(tenant, keys, model)
            except StorageDamagedError:
                found |= {key: self._usable(tenant, key, model) for key in keys}
        return found

    def _usable(self, tenant: str, subject_key: int, model: str) -> dict[str, FloatArray] | None:
        try:
            return self._references(tenant, [subject_key], model).get(subject_key, {})
        except StorageDamagedError:
            return None

    def _references(self, tenant: str, subject_keys: Sequence[int], model: str) -> dict[int, dict[str, FloatArray]]:
        rows = self._connection.execute(self._queries.versions, {"keys": subject_keys, "of_model": model}).all()
        found: dict[int, dict[str, FloatArray]] = {}
        for version in sorted({row.version for row in rows}):
            of_version = [row for row in rows if row.version == version]
            for reference in to_references(of_version, Binding(tenant, model, version), self._vault):
                found.setdefault(reference.subject_key, {})[version] = reference.embedding
        return found

    def _pages(self, query: Executable, given: Mapping[str, object]) -> Iterator[tuple[Sequence[Change], int]]:
        last_id, last_number = 0, 0
        while True:
            values = {**given, "last_id": last_id, "last_number": last_number}
            rows = self._connection.execute(query, values).all()
            if rows:
                last_id, last_number = rows[-1].transaction_id, rows[-1].number
                is_full = len(rows) == CHANGES_AT_ONCE
                # an enrolment that replaces somebody names a subject twice
                changes = list(dict.fromkeys(Change(row.tenant, row.subject_key, row.model) for row in rows))
                yield changes, self._behind(last_number) if is_full else 0
            if len(rows) < CHANGES_AT_ONCE:
                return

    def _behind(self, number: int) -> int:
        """How many changes have higher numbers, nearly: by the highest of them, which is found at once."""
        highest = self._connection.scalar(select(func.max(ChangeRow.number)))
        return max(0, (highest or 0) - number)


def forget_old_changes(session: Session, older_than: timedelta, most: int) -> int:
    """Remove the oldest changes, and note up to which: a follower that has slept for longer has to fill anew.

    Args:
        session: in a transaction.
        older_than: by the database's clock.
        most: at most so many.

    Returns: how many it were.
    """
    columns = (ChangeRow.number, ChangeRow.transaction_id, ChangeRow.changed_at)
    oldest = session.execute(select(*columns).order_by(ChangeRow.number).limit(most)).all()
    before = time_of(session) - older_than
    old = [row for row in oldest if row.changed_at < before]
    if old:
        for numbers in in_chunks(row.number for row in old):
            session.execute(delete(ChangeRow).where(ChangeRow.number.in_(numbers)))
        highest = max(row.transaction_id for row in old)
        known = session.scalar(select(ChangeHorizonRow.transaction_id))
        if known is None or highest > known:
            session.execute(delete(ChangeHorizonRow))
            session.add(ChangeHorizonRow(transaction_id=highest))
    return len(old)


def forget_foreign_changes(session: Session) -> int:
    """Remove changes that no transaction of this database has made: a dump of another one brought them here.

    Their numbers lie ahead of this database's, so that they would count as new until it came there. A row that is seen
    was written by a transaction below the statement's own snapshot, so that none of this database's can be taken for
    one of those, whoever writes at the moment.

    Returns: how many they were.
    """
    unseen: ColumnElement[int] = literal_column(database_of(session.get_bind()).unseen)
    removed = 0
    for table in (ChangeRow, ChangeHorizonRow):
        foreign = table.transaction_id >= unseen
        if session.scalar(select(table.transaction_id).where(foreign).limit(1)) is not None:  # else nothing is written
            removed += session.connection().execute(delete(table).where(foreign)).rowcount
    return removed


def forget_feed(session: Session) -> None:
    """Remove all changes: of a copy, which is another store than the one whose followers knew them."""
    for table in (ChangeRow, ChangeHorizonRow):
        session.execute(delete(table))
