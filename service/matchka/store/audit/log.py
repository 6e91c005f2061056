"""The log in the database: appended to in the transaction of a change, read a page at a time, and pruned."""

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any, Final

from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.orm import Session

from matchka.errors import StorageDamagedError
from matchka.runtime.audited_request import COMMAND, current_request
from matchka.store.audit.chain import BEGINNING, Link, linked
from matchka.store.audit.cursors import Cursors
from matchka.store.audit.prunings import Prunings
from matchka.store.audit.records import FIELDS, AuditRecord, Event, Outcome, record_of
from matchka.store.schema import AuditHeadRow, AuditRow
from matchka.store.subject_hash import SubjectHasher

PRUNED_AT_ONCE: Final = 5_000  # a transaction that others wait for takes some 20 ms
UNSYNCHRONISED: Final = {"synchronize_session": False}
ROWS_AT_ONCE: Final = 1_000
HASH: Final = re.compile(r"[0-9a-f]{64}")
COLUMNS: Final = tuple(getattr(AuditRow, name) for name in FIELDS)
CURSOR_PURPOSE: Final = "audit-cursor-1"
OWN_CALL: Final = "audit"  # what the log records of itself


class AuditLog:
    """The audit log of a store.

    Args:
        engine: of the store.
        hasher: of subjects; None while the vault is locked, and for commands that change none.
        is_on: whether anything is recorded. What is there is readable anyway.
    """

    def __init__(self, engine: Engine, hasher: SubjectHasher | None = None, is_on: bool = False) -> None:
        self.engine = engine
        self.hasher = hasher
        self.is_on = is_on
        self.cursors = Cursors(secrets.token_bytes(32) if hasher is None else hasher.derive(CURSOR_PURPOSE))

    def note(
        self,
        session: Session,
        outcome: Outcome,
        tenant: str | None = None,
        subject_id: str | None = None,
        model: str | None = None,
        version: str | None = None,
        detail: str | None = None,
        count: int = 1,
    ) -> None:
        """Record a change in its own transaction, as its last step: from here on others wait for the commit.

        Who asked for it is what runtime/audited_request.py carries.
        """
        if not self.is_on:
            return
        asked = current_request()
        session.flush()
        event = Event(
            outcome=outcome,
            call=COMMAND if asked is None else asked.call,
            tenant=tenant,
            key_id=COMMAND if asked is None else asked.key_id,
            subject_id=subject_id,
            model=model,
            version=version,
            detail=detail,
            request_id=None if asked is None else asked.request_id,
            count=count,
        )
        self.append(session, [(event, datetime.now(UTC))])
        if asked is not None:
            asked.is_recorded = True

    def append(self, session: Session, events: Sequence[tuple[Event, datetime]]) -> Link:
        """Append records in a transaction, of which one at a time can do so: the head's row is locked to its end.

        Args:
            session: in a transaction; on SQLite it becomes the writing one here.
            events: with the times at which they happened.

        Returns: the place of the last one.

        Raises: StorageDamagedError: the head's hash is none.
        """
        step = update(AuditHeadRow).values(sequence=AuditHeadRow.sequence + len(events))
        row = session.execute(
            step.returning(AuditHeadRow.sequence, AuditHeadRow.hash), execution_options=UNSYNCHRONISED
        ).one_or_none()
        before = _renewed_head(session, len(events)) if row is None else Link(row.sequence - len(events), row.hash)
        sequence, place = before.sequence, before.hash
        if not HASH.fullmatch(place):
            raise StorageDamagedError(
                "The head of the audit log was changed.", value=place, remedy="Restore a backup to a new data folder."
            )
        rows = []
        for event, at in events:
            sequence += 1
            record = record_of(event, sequence, at, self.hashed(event.tenant, event.subject_id))
            place = linked(place, record.as_bytes())
            rows.append({**{name: getattr(record, name) for name in FIELDS}, "hash": place})
        if rows:
            session.connection().execute(insert(AuditRow), rows)  # as plain rows, in a third of the time
            session.execute(update(AuditHeadRow).values(hash=place), execution_options=UNSYNCHRONISED)
        return Link(sequence, place)

    def page(
        self, tenant: str, limit: int, after: int = 0, subject_id: str | None = None, with_nobodys: bool = False
    ) -> list[AuditRecord]:
        """Records of a tenant behind a sequence, oldest first.

        Args:
            tenant: whose.
            limit: most of them.
            after: sequence.
            subject_id: of whom they have to be; of all by default.
            with_nobodys: also those of no tenant: of callers without a valid key, and of the log itself.

        Raises: StorageDamagedError: the time of one is none.
        """
        whose = AuditRow.tenant == tenant
        query = select(*COLUMNS).where(whose | AuditRow.tenant.is_(None) if with_nobodys else whose)
        query = query.where(AuditRow.sequence > after)
        if subject_id is not None:
            query = query.where(AuditRow.subject == self.hashed(tenant, subject_id))
        with self.engine.connect() as connection, _readable():
            return [to_record(row) for row in connection.execute(query.order_by(AuditRow.sequence).limit(limit))]

    def prune(self, session: Session, before: datetime) -> int:
        """Delete the oldest records, as long as all of them are older than a time; the log records it.

        One whose time is later, since a clock was wrong, keeps those behind it.

        Returns: how many; PRUNED_AT_ONCE where there may be more, 0 where nothing can sign it.

        Raises: StorageDamagedError: the time of one is none.
        """
        if self.hasher is None:
            return 0
        _lock_head(session)  # before the first look: replicas may prune at the same time
        start = pruned_place(session).sequence
        query = select(AuditRow.sequence, AuditRow.hash, AuditRow.at).where(AuditRow.sequence > start)
        with _readable():
            oldest = session.execute(query.order_by(AuditRow.sequence).limit(PRUNED_AT_ONCE)).all()
        old = list(takewhile(lambda row: row.at < before, oldest))
        if not old:
            return 0
        last = old[-1]
        signed = Prunings(self.hasher).write(Link(last.sequence, last.hash))
        event = Event(Outcome.PRUNED, OWN_CALL, detail=signed, count=len(old))
        self.append(session, [(event, datetime.now(UTC))])
        pruned = update(AuditHeadRow).values(pruned_sequence=last.sequence, pruned_hash=last.hash)
        session.execute(pruned, execution_options=UNSYNCHRONISED)
        session.execute(delete(AuditRow).where(AuditRow.sequence <= last.sequence), execution_options=UNSYNCHRONISED)
        return len(old)

    def hashed(self, tenant: str | None, subject_id: str | None) -> str | None:
        """A subject as the log names it; None where nothing can hash it."""
        if subject_id is None or tenant is None or self.hasher is None:
            return None
        return self.hasher.hash_of(tenant, subject_id)


def lift_head(session: Session) -> Link:
    """Move a head that lies behind the last record, or whose hash is none, to that record: somebody has changed it.

    Returns: the place of the head.
    """
    _lock_head(session)
    head, last = head_place(session), last_place(session)
    if head.sequence >= last.sequence and HASH.fullmatch(head.hash):
        return head
    values = update(AuditHeadRow).values(sequence=last.sequence, hash=last.hash)
    session.execute(values, execution_options=UNSYNCHRONISED)
    return last


def pruned_place(session: Session) -> Link:
    """The place of the last record that was pruned."""
    row = session.execute(select(AuditHeadRow.pruned_sequence, AuditHeadRow.pruned_hash)).one_or_none()
    return BEGINNING if row is None else Link(row.pruned_sequence, row.pruned_hash)


def head_place(session: Session) -> Link:
    """The place of the last record, in one look; what is written meanwhile comes behind it."""
    row = session.execute(select(AuditHeadRow.sequence, AuditHeadRow.hash)).one_or_none()
    return BEGINNING if row is None else Link(row.sequence, row.hash)


def last_place(session: Session) -> Link:
    """The place of the last record that is there, whatever the head says."""
    query = select(AuditRow.sequence, AuditRow.hash).order_by(AuditRow.sequence.desc()).limit(1)
    last = session.execute(query).one_or_none()
    return BEGINNING if last is None else Link(last.sequence, last.hash)


def is_pruning_genuine(session: Session, prunings: Prunings) -> bool:
    """Whether the last pruning that the log records is the one that its head names, and signed by the key at hand."""
    said = select(AuditRow.detail).where(AuditRow.outcome == Outcome.PRUNED).order_by(AuditRow.sequence.desc()).limit(1)
    # in one look: others may prune meanwhile
    query = select(AuditHeadRow.pruned_sequence, AuditHeadRow.pruned_hash, said.scalar_subquery())
    row = session.execute(query).one_or_none()
    return row is not None and prunings.read(row[2]) == Link(row[0], row[1])


def hash_at(session: Session, sequence: int) -> str | None:
    """The hash of a record; of the last one that was pruned as well; None where neither is there."""
    if sequence == 0:
        return BEGINNING.hash
    pruned = pruned_place(session)
    if sequence == pruned.sequence:
        return pruned.hash
    return session.scalar(select(AuditRow.hash).where(AuditRow.sequence == sequence))


def to_record(row: Sequence[Any]) -> AuditRecord:
    """The record of a row that begins with COLUMNS."""
    return AuditRecord(*row[: len(FIELDS)])


def records_in(
    session: Session,
    start: datetime | None = None,
    end: datetime | None = None,
    tenant: str | None = None,
    subject: str | None = None,
) -> Iterator[tuple[AuditRecord, str]]:
    """Records with their hashes, by sequence; few are in memory at once.

    Args:
        session: reads one unchanging state.
        start: the time of the earliest; all by default, as with what follows.
        end: the time before which they are.
        tenant: whose.
        subject: the hash of the one that they are about.

    Raises: StorageDamagedError: the time of one is none.
    """
    conditions = [
        *([] if start is None else [AuditRow.at >= start]),
        *([] if end is None else [AuditRow.at < end]),
        *([] if tenant is None else [AuditRow.tenant == tenant]),
        *([] if subject is None else [AuditRow.subject == subject]),
    ]
    query = select(*COLUMNS, AuditRow.hash).where(*conditions).order_by(AuditRow.sequence)
    with _readable():
        for row in session.execute(query.execution_options(yield_per=ROWS_AT_ONCE)):
            yield to_record(row), row.hash


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError) as error:  # SQLite keeps anything in any column
        raise StorageDamagedError(
            "A record of the audit log cannot be read.", value=error, remedy="Restore a backup to a new data folder."
        ) from error


def _lock_head(session: Session) -> None:
    """Let nobody else append or prune until the end of the transaction."""
    session.execute(update(AuditHeadRow).values(sequence=AuditHeadRow.sequence), execution_options=UNSYNCHRONISED)


def _renewed_head(session: Session, count: int) -> Link:
    """Make the head anew, moved on by some records: somebody deleted its row. Returns: the place of the last record."""
    place = last_place(session)
    session.add(AuditHeadRow(sequence=place.sequence + count, hash=place.hash))
    session.flush()
    return place
