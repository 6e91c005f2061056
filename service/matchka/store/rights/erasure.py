"""Erasure: everything that is held about a subject is deleted in one transaction, on request or when it has expired."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from matchka.store.deletions import note_deletions, note_key_erasures
from matchka.store.feed.changes import note_changes
from matchka.store.queries import unexpired
from matchka.store.schema import AttemptRow, Base, ChallengeRow, ReferenceRow, SubjectRow, TemplateRow, TermsRow
from matchka.store.subject_hash import SubjectHasher


@dataclass(frozen=True)
class Erasure:
    """What was erased of one subject.

    Attributes:
        subject_key: never used again.
        template_ids: as the deletion log has them.
        references, challenges, attempts, terms: rows.
        has_key: whether it had a key in the key store, which is destroyed after the commit.
    """

    tenant: str
    subject_id: str
    subject_key: int
    erased_at: datetime
    template_ids: tuple[str, ...]
    references: int
    challenges: int
    attempts: int
    terms: int
    has_key: bool


def erase_subject(session: Session, subject: SubjectRow, hasher: SubjectHasher | None) -> Erasure:
    """Delete a subject and all that belongs to it, and note its templates in the deletion log.

    Every erasure of a whole subject comes through here. To be called in the transaction that it is part of; the note of
    its key is carried out by finish_erasures() after the commit.
    """
    key, now = subject.key, datetime.now(UTC)
    ids = session.scalars(select(TemplateRow.template_id).where(TemplateRow.subject_key == key)).all()
    note_deletions(session, subject, ids, now, hasher)
    note_key_erasures(session, [subject.key_id])
    note_changes(session, subject.tenant, [key])
    rows = {table: _deleted(session, table, key) for table in (ReferenceRow, ChallengeRow, AttemptRow, TermsRow)}
    _deleted(session, TemplateRow, key)
    erasure = Erasure(
        subject.tenant,
        subject.subject_id,
        key,
        now,
        tuple(sorted(ids)),
        references=rows[ReferenceRow],
        challenges=rows[ChallengeRow],
        attempts=rows[AttemptRow],
        terms=rows[TermsRow],
        has_key=subject.key_id is not None,
    )
    session.delete(subject)
    session.flush()
    return erasure


def erase_expired(session: Session, subject: SubjectRow, hasher: SubjectHasher | None) -> Erasure | None:
    """Delete a subject whose time is over, by the database's clock; None where it is not.

    The look is a change, so that SQLite has one writer from here on: nobody renews the subject in between.
    """
    if subject.expires_at is None:
        return None
    is_over = update(SubjectRow).where(SubjectRow.key == subject.key, ~unexpired()).values(tenant=subject.tenant)
    found = session.execute(is_over, execution_options={"synchronize_session": False})
    if not found.rowcount:  # type: ignore[attr-defined]  # of every result of a change
        return None
    return erase_subject(session, subject, hasher)


def expired_subjects(session: Session, most: int) -> list[SubjectRow]:
    """Some of the subjects whose time is over, longest first; PostgreSQL locks them, and passes over locked ones."""
    query = select(SubjectRow).where(SubjectRow.expires_at.is_not(None), ~unexpired())
    return list(session.scalars(query.order_by(SubjectRow.expires_at).limit(most).with_for_update(skip_locked=True)))


def _deleted(session: Session, table: type[Base], subject_key: int) -> int:
    """Delete a subject's rows of a table. Returns: how many."""
    statement: Any = delete(table).where(table.__table__.c.subject_key == subject_key)
    found: Any = session.execute(statement, execution_options={"synchronize_session": False})
    return int(found.rowcount)
