"""Deletions: which templates are gone for good, so that no older copy of them brings them back."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final, TypeVar

from sqlalchemy import delete, null, select
from sqlalchemy.orm import Session

from matchka.errors import RestoreRefusedError
from matchka.store.feed.changes import note_changes
from matchka.store.queries import recompute_reference
from matchka.store.schema import (
    AttemptRow,
    DeletionHorizonRow,
    DeletionRow,
    KeyErasureRow,
    ReferenceRow,
    SubjectRow,
    TemplateRow,
)
from matchka.store.subject_hash import SubjectHasher
from matchka.store.vault.vault import CLEAR, Vault

T = TypeVar("T")
IDS_AT_ONCE: Final = 500  # SQLite takes at least 999 parameters of one statement


@dataclass(frozen=True)
class Deletion:
    """A template that was deleted. Attributes: subject_hash: tells whose it was; None where that is not known."""

    template_id: str
    tenant: str
    deleted_at: datetime
    subject_hash: str | None = None


def note_deletions(
    session: Session,
    subject: SubjectRow,
    template_ids: Iterable[str],
    now: datetime,
    hasher: SubjectHasher | None = None,
) -> None:
    """Enter templates of a subject; to be called in the transaction that deletes them."""
    subject_hash = None if hasher is None else hasher.hash_of(subject.tenant, subject.subject_id)
    for template_id in template_ids:
        session.add(
            DeletionRow(template_id=template_id, tenant=subject.tenant, deleted_at=now, subject_hash=subject_hash)
        )


def note_key_erasures(session: Session, key_ids: Iterable[bytes | None]) -> None:
    """Note keys that are to be destroyed; to be called in the transaction that deletes their subjects."""
    session.add_all(KeyErasureRow(key_id=key_id) for key_id in key_ids if key_id is not None)


def deletions_in(session: Session, *, has_hashes: bool = True) -> Iterator[Deletion]:
    """The whole deletion log, by template id.

    Args:
        session: of the store.
        has_hashes: whether the tables are those of today; of older ones nothing is read of whose the templates were.
    """
    subject_hash = DeletionRow.subject_hash if has_hashes else null()
    query = select(DeletionRow.template_id, DeletionRow.tenant, DeletionRow.deleted_at, subject_hash)
    rows = session.execute(query.order_by(DeletionRow.template_id))
    return (Deletion(*row) for row in rows)


def merge_deletions(session: Session, deletions: Iterable[Deletion]) -> int:
    """Merge another deletion log.

    Returns: how many of them were not known.
    """
    added = 0
    for chunk in in_chunks(deletions):
        by_id = {deletion.template_id: deletion for deletion in chunk}
        known = deleted_among(session, by_id)
        new = [deletion for template_id, deletion in by_id.items() if template_id not in known]
        session.add_all(
            DeletionRow(
                template_id=d.template_id, tenant=d.tenant, deleted_at=d.deleted_at, subject_hash=d.subject_hash
            )
            for d in new
        )
        session.flush()
        added += len(new)
    return added


def deleted_among(session: Session, template_ids: Iterable[str]) -> set[str]:
    """The ids of these that are in the deletion log."""
    deleted: set[str] = set()
    for chunk in in_chunks(template_ids):
        deleted.update(session.scalars(select(DeletionRow.template_id).where(DeletionRow.template_id.in_(chunk))))
    return deleted


def forget_deletions(session: Session, template_ids: Iterable[str]) -> None:
    """Take templates off the deletion log: they were resurrected on request."""
    for chunk in in_chunks(template_ids):
        session.execute(delete(DeletionRow).where(DeletionRow.template_id.in_(chunk)))


def forget_old_deletions(session: Session, before: datetime, most: int) -> int:
    """Take the oldest deletions off the log, and note up to when: older copies of the store could bring them back.

    Args:
        session: in a transaction.
        before: those that are older go.
        most: at most so many.

    Returns: how many it were.
    """
    query = select(DeletionRow.template_id, DeletionRow.deleted_at).where(DeletionRow.deleted_at < before)
    old = session.execute(query.order_by(DeletionRow.deleted_at).limit(most)).all()
    if old:
        forget_deletions(session, [row.template_id for row in old])
        raise_horizon(session, old[-1].deleted_at)
    return len(old)


def horizon_in(session: Session) -> datetime | None:
    """The time up to which deletions may be missing in the log because of their age; None where none is."""
    return session.scalar(select(DeletionHorizonRow.forgotten_until))


def raise_horizon(session: Session, until: datetime | None) -> None:
    """Note that deletions up to a time may be missing."""
    known = horizon_in(session)
    if until is not None and (known is None or until > known):
        session.execute(delete(DeletionHorizonRow))
        session.add(DeletionHorizonRow(forgotten_until=until))


def require_younger(created_at: datetime, horizon: datetime | None) -> None:
    """Refuse a copy of a store from before what the deletion log still knows.

    Raises: RestoreRefusedError: what was deleted since could come back.
    """
    if horizon is not None and created_at <= horizon:
        raise RestoreRefusedError(
            f"The copy is older than the deletion log, from which deletions until {horizon.isoformat()} were removed "
            "because of their age: what was deleted since could come back.",
            value=created_at.isoformat(),
            remedy="Use a younger copy; or name a log that was kept longer with --deletions, or accept it with "
            "--resurrect.",
        )


def living_deletions(session: Session) -> list[str]:
    """Ids of templates that are in the deletion log and in the store."""
    query = select(TemplateRow.template_id).join(DeletionRow, DeletionRow.template_id == TemplateRow.template_id)
    return list(session.scalars(query.order_by(TemplateRow.template_id)))


def remove_templates(session: Session, template_ids: Iterable[str], vault: Vault = CLEAR) -> int:
    """Delete templates wherever they are, recompute the references they were part of, and drop empty subjects.

    The deletion log is the caller's: this neither reads nor writes it. The keys of subjects that are dropped are noted,
    for finish_erasures() to destroy them after the commit.

    Returns: how many there were.
    """
    removed = 0
    touched: set[tuple[int, str, str]] = set()
    for chunk in in_chunks(template_ids):
        found = session.execute(
            select(TemplateRow.subject_key, TemplateRow.model, TemplateRow.version).where(
                TemplateRow.template_id.in_(chunk)
            )
        ).all()
        removed += len(found)
        touched |= {(row.subject_key, row.model, row.version) for row in found}
        session.execute(delete(TemplateRow).where(TemplateRow.template_id.in_(chunk)))
    for key, model, version in sorted(touched):
        # locked in one order, so that neither two of these nor an enrolment wait for each other
        subject = session.get(SubjectRow, key, with_for_update=True)
        if subject is not None:  # else somebody has deleted it meanwhile
            recompute_reference(session, subject, model, version, vault)
    session.flush()
    for keys in in_chunks({key for key, _, _ in touched}):
        has_templates = select(TemplateRow.subject_key).where(TemplateRow.subject_key == SubjectRow.key)
        columns = (SubjectRow.key, SubjectRow.key_id, SubjectRow.tenant)
        query = select(*columns).where(SubjectRow.key.in_(keys), ~has_templates.exists())
        dropped = session.execute(query).all()
        for tenant in {row.tenant for row in dropped}:
            note_changes(session, tenant, [row.key for row in dropped if row.tenant == tenant])
        note_key_erasures(session, [row.key_id for row in dropped])
        empty = [row.key for row in dropped]
        session.execute(delete(ReferenceRow).where(ReferenceRow.subject_key.in_(empty)))
        session.execute(
            delete(AttemptRow).where(AttemptRow.subject_key.in_(empty))
        )  # what has a foreign key goes along
        session.execute(delete(SubjectRow).where(SubjectRow.key.in_(empty)))
    return removed


def in_chunks(values: Iterable[T]) -> Iterator[Sequence[T]]:
    """Values in chunks of IDS_AT_ONCE, as many as one statement takes."""
    iterator = iter(values)
    while chunk := list(islice(iterator, IDS_AT_ONCE)):
        yield chunk
