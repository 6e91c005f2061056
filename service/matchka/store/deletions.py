"""Deletions: which templates are gone for good, so that no older copy of them brings them back."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final, TypeVar

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from matchka.store.queries import recompute_reference
from matchka.store.schema import DeletionRow, KeyErasureRow, ReferenceRow, SubjectRow, TemplateRow
from matchka.store.vault.vault import CLEAR, Vault

T = TypeVar("T")
IDS_AT_ONCE: Final = 500  # SQLite takes at least 999 parameters of one statement


@dataclass(frozen=True)
class Deletion:
    """A template that was deleted, and whose it was; ids only."""

    template_id: str
    tenant: str
    subject_id: str
    deleted_at: datetime


def note_deletions(session: Session, subject: SubjectRow, template_ids: Iterable[str], now: datetime) -> None:
    """Enter templates of a subject; to be called in the transaction that deletes them."""
    for template_id in template_ids:
        session.add(
            DeletionRow(template_id=template_id, tenant=subject.tenant, subject_id=subject.subject_id, deleted_at=now)
        )


def note_key_erasures(session: Session, key_ids: Iterable[bytes | None]) -> None:
    """Note keys that are to be destroyed; to be called in the transaction that deletes their subjects."""
    session.add_all(KeyErasureRow(key_id=key_id) for key_id in key_ids if key_id is not None)


def deletions_in(session: Session) -> Iterator[Deletion]:
    """The whole deletion log, by template id."""
    rows = session.execute(
        select(DeletionRow.template_id, DeletionRow.tenant, DeletionRow.subject_id, DeletionRow.deleted_at).order_by(
            DeletionRow.template_id
        )
    )
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
            DeletionRow(template_id=d.template_id, tenant=d.tenant, subject_id=d.subject_id, deleted_at=d.deleted_at)
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
        subject = session.get_one(SubjectRow, key, with_for_update=True)
        recompute_reference(session, subject, model, version, vault)
    session.flush()
    for keys in in_chunks({key for key, _, _ in touched}):
        has_templates = select(TemplateRow.subject_key).where(TemplateRow.subject_key == SubjectRow.key)
        query = select(SubjectRow.key, SubjectRow.key_id).where(SubjectRow.key.in_(keys), ~has_templates.exists())
        dropped = session.execute(query).all()
        note_key_erasures(session, [row.key_id for row in dropped])
        empty = [row.key for row in dropped]
        session.execute(delete(ReferenceRow).where(ReferenceRow.subject_key.in_(empty)))
        session.execute(delete(SubjectRow).where(SubjectRow.key.in_(empty)))
    return removed


def in_chunks(values: Iterable[T]) -> Iterator[Sequence[T]]:
    """Values in chunks of IDS_AT_ONCE, as many as one statement takes."""
    iterator = iter(values)
    while chunk := list(islice(iterator, IDS_AT_ONCE)):
        yield chunk
