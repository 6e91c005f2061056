"""Table rows -> records, and the reference as the mean of its templates."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
from sqlalchemy import ColumnElement, Executable, Row, Select, bindparam, or_, select
from sqlalchemy.orm import Session

from matchka.errors import UnknownSubjectError
from matchka.store.clock import Now
from matchka.store.engine import lock_name
from matchka.store.feed.changes import note_changes
from matchka.store.integrity.stored_embeddings import from_bytes, require_digest, require_digests, to_bytes
from matchka.store.records import Reference, StoredEmbedding, Subject, Template
from matchka.store.schema import ChangeRow, ReferenceRow, SubjectRow, TemplateRow
from matchka.store.vault.sealed import Binding
from matchka.store.vault.vault import CLEAR, Plain, Vault
from matchka.vectors import mean_reference

_REFERENCE_COLUMNS: Final = (
    ReferenceRow.subject_key,
    SubjectRow.subject_id,
    ReferenceRow.template_count,
    ReferenceRow.row_count,
    ReferenceRow.condition,
    ReferenceRow.embedding,
    ReferenceRow.digest,
)


def unexpired() -> ColumnElement[bool]:
    """SQL: is a subject's time not over, by the database's clock? What has expired is as good as gone."""
    return or_(SubjectRow.expires_at.is_(None), SubjectRow.expires_at > Now())


def find_subject(
    session: Session, tenant: str, subject_id: str, *, to_change: bool = False, even_expired: bool = False
) -> SubjectRow | None:
    """A subject's row, or None.

    Args:
        session: of the store.
        tenant: owner of the subject.
        subject_id: whose.
        to_change: whether this transaction changes the subject's templates. On PostgreSQL others that do so wait for
            its end: each would make a reference that lacks the other's template. SQLite has one writer anyway.
        even_expired: whether one that has expired and is not deleted yet is found as well.
    """
    query = select(SubjectRow).where(SubjectRow.tenant == tenant, SubjectRow.subject_id == subject_id)
    if not even_expired:
        query = query.where(unexpired())
    return session.scalar(query.with_for_update() if to_change else query)


def find_or_make_subject(session: Session, tenant: str, subject_id: str, now: datetime) -> SubjectRow:
    """A subject's row, to be changed: see find_subject(); made, with the time `now`, where there is none.

    One that has expired is found.

    Who makes a subject waits for others that make it: of two that look at the same moment neither would see the
    other's row, and the second could not store its own.
    """
    subject = find_subject(session, tenant, subject_id, to_change=True, even_expired=True)
    if subject is None:
        lock_name(session, f"{tenant}/{subject_id}")
        subject = find_subject(session, tenant, subject_id, to_change=True, even_expired=True)
    if subject is None:
        subject = SubjectRow(tenant=tenant, subject_id=subject_id, created_at=now)
        session.add(subject)
        session.flush()
    return subject


def require_subject(
    session: Session, tenant: str, subject_id: str, *, to_change: bool = False, even_expired: bool = False
) -> SubjectRow:
    """A subject's row, which PostgreSQL locks where it is `to_change`.

    Raises: UnknownSubjectError: no such subject.
    """
    subject = find_subject(session, tenant, subject_id, to_change=to_change, even_expired=even_expired)
    if subject is None:
        raise UnknownSubjectError(
            "There is no such subject.",
            value=subject_id,
            remedy="Enrol it, or list the known ones with GET /v1/subjects.",
        )
    return subject


def summaries_query() -> Executable:
    """Key, id, time of enrolment and template count of some subjects: of_tenant, keys, of_model, of_version."""
    return (
        select(SubjectRow.key, SubjectRow.subject_id, SubjectRow.created_at, ReferenceRow.template_count)
        .join(ReferenceRow, ReferenceRow.subject_key == SubjectRow.key)
        .where(SubjectRow.tenant == bindparam("of_tenant"), SubjectRow.key.in_(bindparam("keys", expanding=True)))
        .where(ReferenceRow.model == bindparam("of_model"), ReferenceRow.version == bindparam("of_version"))
        .where(unexpired())
    )


def unseen_query() -> Executable:
    """Changed subjects and whether each has a reference: of_tenant, of_model, of_version, next_id, running, most.

    Of the transactions of these numbers, and those from the next one on: see matchka.store.feed.snapshot.Snapshot.
    """
    changed = ChangeRow.transaction_id
    is_of = (
        (ReferenceRow.subject_key == ChangeRow.subject_key)
        & (ReferenceRow.model == bindparam("of_model"))
        & (ReferenceRow.version == bindparam("of_version"))
    )
    return (
        select(ChangeRow.subject_key, ReferenceRow.subject_key.is_not(None).label("is_held"))
        .outerjoin(ReferenceRow, is_of)
        .where(or_(changed >= bindparam("next_id"), changed.in_(bindparam("running", expanding=True))))
        .where(ChangeRow.tenant == bindparam("of_tenant"))
        .limit(bindparam("most"))
    )


def reference_query() -> Executable:
    """What to_references() needs of one subject: of_tenant, of_subject, of_model, of_version."""
    return _references().where(SubjectRow.subject_id == bindparam("of_subject"))


def references_query() -> Executable:
    """What to_references() needs of some subjects: of_tenant, keys, of_model, of_version."""
    return _references().where(SubjectRow.key.in_(bindparam("keys", expanding=True)))


def versions_query() -> Executable:
    """What to_references() needs of all versions of some subjects: keys, of_model."""
    return (
        select(*_REFERENCE_COLUMNS, ReferenceRow.version)
        .join(SubjectRow, ReferenceRow.subject_key == SubjectRow.key)
        .where(ReferenceRow.subject_key.in_(bindparam("keys", expanding=True)))
        .where(ReferenceRow.model == bindparam("of_model"))
    )


def _references() -> Select[*tuple[Any, ...]]:
    return (
        select(*_REFERENCE_COLUMNS)
        .join(SubjectRow, ReferenceRow.subject_key == SubjectRow.key)
        .where(SubjectRow.tenant == bindparam("of_tenant"), unexpired())
        .where(ReferenceRow.model == bindparam("of_model"), ReferenceRow.version == bindparam("of_version"))
    )


def recompute_reference(
    session: Session, subject: SubjectRow, model: str, version: str, vault: Vault = CLEAR
) -> Reference | None:
    """Make a subject's reference the mean of the templates it has now; None where it has none of this version left.

    Raises: StorageDamagedError: a template is not what was stored.
    """
    templates = read_templates(session, subject, model, version, vault)
    return write_reference(session, subject, model, version, templates, vault)


def read_templates(
    session: Session, subject: SubjectRow, model: str, version: str, vault: Vault = CLEAR
) -> dict[str, StoredEmbedding]:
    """The embeddings of a subject's templates of one version by their ids, oldest first.

    Raises: StorageDamagedError: a template is not what was stored.
    """
    rows = session.execute(
        select(
            TemplateRow.template_id,
            TemplateRow.embedding,
            TemplateRow.digest,
            TemplateRow.row_count,
            TemplateRow.condition,
        )
        .where(TemplateRow.subject_key == subject.key, TemplateRow.model == model, TemplateRow.version == version)
        .order_by(TemplateRow.created_at, TemplateRow.template_id)
    ).all()
    for number, found in enumerate(rows, start=1):
        require_digest(found.embedding, found.digest, f"template {number} of {subject.subject_id}")
    binding = Binding(subject.tenant, model, version)
    stored = [found.embedding for found in rows]
    bindings = [binding.of_template(subject.key, found.template_id) for found in rows]
    return {
        found.template_id: StoredEmbedding(from_bytes(plain), found.row_count, found.condition)
        for found, plain in zip(rows, vault.opener(stored).open(stored, bindings), strict=True)
    }


def write_reference(
    session: Session,
    subject: SubjectRow,
    model: str,
    version: str,
    templates: Mapping[str, StoredEmbedding],
    vault: Vault = CLEAR,
) -> Reference | None:
    """Store the mean of all of a subject's templates as its reference; without any, there is none."""
    note_changes(session, subject.tenant, [subject.key], model)
    row = session.get(ReferenceRow, (subject.key, model, version))
    if not templates:
        if row is not None:
            session.delete(row)
        return None
    mean = mean_reference(np.stack([template.vector for template in templates.values()]))
    if row is None:
        row = ReferenceRow(subject_key=subject.key, model=model, version=version)
        session.add(row)
    binding = Binding(subject.tenant, model, version).of_reference(subject.key)
    (row.embedding,) = vault.seal([Plain(subject.key_id, binding, to_bytes(mean))])
    row.template_count = len(templates)
    row.row_count = total_rows(template.row_count for template in templates.values())
    row.condition = lowest_condition(template.condition for template in templates.values())
    return Reference(subject.key, subject.subject_id, len(templates), mean, row.row_count, row.condition)


def total_rows(counts: Iterable[int | None]) -> int | None:
    """The rows of a reference: the sum over its templates, or None where one does not know its own.

    >>> total_rows([3, 4]), total_rows([3, None])
    (7, None)
    """
    known = list(counts)
    return None if None in known else sum(count for count in known if count is not None)


def lowest_condition(conditions: Iterable[float | None]) -> float | None:
    """The condition of a reference: the lowest of its templates', or None where one has none.

    >>> lowest_condition([3.5, -4.0]), lowest_condition([3.5, None])
    (-4.0, None)
    """
    known = list(conditions)
    return None if None in known else min((one for one in known if one is not None), default=None)


def to_subject(session: Session, row: SubjectRow) -> Subject:
    """A subject and its templates, oldest first."""
    templates = session.scalars(
        select(TemplateRow)
        .where(TemplateRow.subject_key == row.key)
        .order_by(TemplateRow.created_at, TemplateRow.template_id)
    )
    return Subject(
        row.subject_id,
        row.created_at,
        tuple(Template(t.template_id, t.model, t.version, t.created_at) for t in templates),
    )


def to_references(rows: Sequence[Row[Any]], binding: Binding, vault: Vault = CLEAR) -> list[Reference]:
    """Stored references, of one tenant, model and version; those whose key was destroyed are left out.

    Raises: StorageDamagedError: one is not what was stored.
    """
    names = [f"the reference of {row.subject_id}" for row in rows]
    require_digests([row.embedding for row in rows], [row.digest for row in rows], names)
    opener = vault.opener([row.embedding for row in rows])
    rows = [row for row in rows if not opener.lacks(row.embedding)]
    bindings = [binding.of_reference(row.subject_key) for row in rows]
    opened = opener.open([row.embedding for row in rows], bindings)
    return [
        Reference(row.subject_key, row.subject_id, row.template_count, from_bytes(plain), row.row_count, row.condition)
        for row, plain in zip(rows, opened, strict=True)
    ]
