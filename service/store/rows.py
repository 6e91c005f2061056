"""Rows of the tables as what the store hands out, and the rule by which a reference follows its templates."""

from typing import Final

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from service.errors import UnknownSubjectError
from service.store.records import Reference, Subject, Template
from service.store.schema import ReferenceRow, SubjectRow, TemplateRow
from service.vectors import FloatArray, mean_reference

LITTLE_ENDIAN_FLOAT32: Final = np.dtype("<f4")


def find_subject(session: Session, tenant: str, subject_id: str) -> SubjectRow | None:
    """A subject's row, or None."""
    return session.scalar(select(SubjectRow).where(SubjectRow.tenant == tenant, SubjectRow.subject_id == subject_id))


def require_subject(session: Session, tenant: str, subject_id: str) -> SubjectRow:
    """A subject's row.

    Raises: UnknownSubjectError: no such subject.
    """
    subject = find_subject(session, tenant, subject_id)
    if subject is None:
        raise UnknownSubjectError(
            "There is no such subject.",
            value=subject_id,
            remedy="Enrol it, or list the known ones with GET /v1/subjects.",
        )
    return subject


def recompute_reference(session: Session, subject: SubjectRow, model: str, version: str) -> Reference | None:
    """Make a subject's reference the mean of the templates it has now; None where it has none of this version left."""
    rows = session.scalars(
        select(TemplateRow.embedding)
        .where(TemplateRow.subject_key == subject.key, TemplateRow.model == model, TemplateRow.version == version)
        .order_by(TemplateRow.created_at, TemplateRow.template_id)
    ).all()
    row = session.get(ReferenceRow, (subject.key, model, version))
    if not rows:
        if row is not None:
            session.delete(row)
        return None
    mean = mean_reference(np.stack([from_bytes(data) for data in rows]))
    if row is None:
        row = ReferenceRow(subject_key=subject.key, model=model, version=version)
        session.add(row)
    row.template_count, row.embedding = len(rows), to_bytes(mean)
    return Reference(subject.key, subject.subject_id, len(rows), mean)


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


def to_reference(row: ReferenceRow, subject_id: str) -> Reference:
    """A stored reference."""
    return Reference(row.subject_key, subject_id, row.template_count, from_bytes(row.embedding))


def to_bytes(embedding: FloatArray) -> bytes:
    """An embedding as it is stored: little-endian float32."""
    return embedding.astype(LITTLE_ENDIAN_FLOAT32).tobytes()


def from_bytes(data: bytes) -> FloatArray:
    """A stored embedding, float32, (full_dim,)."""
    return np.frombuffer(data, LITTLE_ENDIAN_FLOAT32).astype(np.float32)
