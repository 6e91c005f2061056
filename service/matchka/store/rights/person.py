"""All that the store holds about one person, in clear, at one moment."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from matchka.store.audit.log import records_in
from matchka.store.audit.records import AuditRecord
from matchka.store.clock import time_of
from matchka.store.integrity.stored_embeddings import from_bytes, require_digest
from matchka.store.rights.terms import Terms, read_terms
from matchka.store.schema import (
    AttemptRow,
    ChallengeRow,
    DeletionRow,
    EnrolmentAnswerRow,
    IdempotencyKeyRow,
    IdentityRow,
    ReferenceRow,
    SubjectRow,
    TemplateRow,
)
from matchka.store.subject_hash import SubjectHasher
from matchka.store.vault.sealed import Binding, answer_binding
from matchka.store.vault.vault import Vault

NO_ID: Final = ""  # of a reference


@dataclass(frozen=True)
class HeldEmbedding:
    """A template or a reference: see TemplateRow and ReferenceRow.

    Attributes:
        template_id: empty for a reference.
        created_at: None for a reference, which is computed from the templates.
        template_count: 1, or of a reference the templates that it is the mean of.
        embedding: (full_dim,).
    """

    template_id: str
    model: str
    version: str
    created_at: datetime | None
    template_count: int
    row_count: int | None
    condition: float | None
    embedding: list[float]


@dataclass(frozen=True)
class HeldChallenge:
    """What was asked of the person: see ChallengeRow."""

    kind: str
    content: str
    issued_at: datetime
    expires_at: datetime
    used_at: datetime | None


@dataclass(frozen=True)
class HeldAttempts:
    """Failed tries that are counted: see AttemptRow."""

    key_id: str
    level: float
    strikes: int
    updated_at: datetime
    blocked_until: datetime | None


@dataclass(frozen=True)
class HeldDeletion:
    """A template of the same subject id that was deleted."""

    template_id: str
    deleted_at: datetime


@dataclass(frozen=True)
class HeldAnswer:
    """What an enrolment was answered, kept for a request that is sent again: see EnrolmentAnswerRow."""

    answered_at: datetime
    answer: dict[str, Any]


@dataclass(frozen=True)
class Person:
    """All that is held. Attributes: subject_hash: names the person where its id is not kept; None without a key."""

    service: str
    tenant: str
    subject_id: str
    subject_hash: str | None
    created_at: datetime
    read_at: datetime
    is_encrypted: bool
    terms: Terms
    templates: list[HeldEmbedding] = field(default_factory=list)
    references: list[HeldEmbedding] = field(default_factory=list)
    challenges: list[HeldChallenge] = field(default_factory=list)
    attempts: list[HeldAttempts] = field(default_factory=list)
    deletions: list[HeldDeletion] = field(default_factory=list)
    audit: list[AuditRecord] = field(default_factory=list)
    answers: list[HeldAnswer] = field(default_factory=list)


def read_person(session: Session, vault: Vault, hasher: SubjectHasher | None, subject: SubjectRow) -> Person:
    """Read all that is held about a subject.

    Args:
        session: one state of the store (matchka.store.engine.reading).
        vault: of the store.
        hasher: of the store.
        subject: whose.

    Raises:
        KeyDestroyedError: nothing opens its templates any more.
        StorageDamagedError: something is not what was stored.
    """
    key = subject.key
    subject_hash = None if hasher is None else hasher.hash_of(subject.tenant, subject.subject_id)
    challenges = select(ChallengeRow).where(ChallengeRow.subject_key == key).order_by(ChallengeRow.number)
    attempts = select(AttemptRow).where(AttemptRow.subject_key == key).order_by(AttemptRow.key_id)
    deletions = select(DeletionRow).where(DeletionRow.subject_hash == subject_hash).order_by(DeletionRow.deleted_at)
    return Person(
        service=session.scalars(select(IdentityRow.identity)).one(),
        tenant=subject.tenant,
        subject_id=subject.subject_id,
        subject_hash=subject_hash,
        created_at=subject.created_at,
        read_at=time_of(session),
        is_encrypted=subject.key_id is not None,
        terms=read_terms(session, vault, subject),
        templates=_templates(session, vault, subject),
        references=_references(session, vault, subject),
        challenges=[
            HeldChallenge(row.kind, row.content, row.issued_at, row.expires_at, row.used_at)
            for row in session.scalars(challenges)
        ],
        attempts=[
            HeldAttempts(row.key_id, row.level, row.strikes, row.updated_at, row.blocked_until)
            for row in session.scalars(attempts)
        ],
        deletions=[HeldDeletion(row.template_id, row.deleted_at) for row in session.scalars(deletions)],
        audit=[] if subject_hash is None else _audit(session, subject.tenant, subject_hash),
        answers=_answers(session, vault, subject),
    )


def _answers(session: Session, vault: Vault, subject: SubjectRow) -> list[HeldAnswer]:
    query = select(IdempotencyKeyRow.created_at, EnrolmentAnswerRow.answer).join(EnrolmentAnswerRow)
    query = query.where(EnrolmentAnswerRow.subject_key == subject.key).order_by(IdempotencyKeyRow.created_at)
    rows = session.execute(query).all()
    stored = [row.answer for row in rows]
    binding = answer_binding(subject.key, subject.tenant)
    opened = vault.opener(stored).open(stored, [binding] * len(stored))
    return [HeldAnswer(row.created_at, json.loads(plain)) for row, plain in zip(rows, opened, strict=True)]


def _audit(session: Session, tenant: str, subject_hash: str) -> list[AuditRecord]:
    return [record for record, _ in records_in(session, tenant=tenant, subject=subject_hash)]


def _templates(session: Session, vault: Vault, subject: SubjectRow) -> list[HeldEmbedding]:
    query = select(TemplateRow).where(TemplateRow.subject_key == subject.key)
    rows = session.scalars(query.order_by(TemplateRow.created_at, TemplateRow.template_id)).all()
    bindings = [
        Binding(subject.tenant, row.model, row.version).of_template(subject.key, row.template_id) for row in rows
    ]
    opened = _opened(vault, rows, bindings, subject)
    return [
        HeldEmbedding(row.template_id, row.model, row.version, row.created_at, 1, row.row_count, row.condition, vector)
        for row, vector in zip(rows, opened, strict=True)
    ]


def _references(session: Session, vault: Vault, subject: SubjectRow) -> list[HeldEmbedding]:
    query = select(ReferenceRow).where(ReferenceRow.subject_key == subject.key)
    rows = session.scalars(query.order_by(ReferenceRow.model, ReferenceRow.version)).all()
    bindings = [Binding(subject.tenant, row.model, row.version).of_reference(subject.key) for row in rows]
    opened = _opened(vault, rows, bindings, subject)
    return [
        HeldEmbedding(NO_ID, row.model, row.version, None, row.template_count, row.row_count, row.condition, vector)
        for row, vector in zip(rows, opened, strict=True)
    ]


def _opened(
    vault: Vault, rows: Sequence[TemplateRow] | Sequence[ReferenceRow], bindings: Sequence[bytes], subject: SubjectRow
) -> list[list[float]]:
    for row in rows:
        require_digest(row.embedding, row.digest, f"a template or reference of {subject.subject_id}")
    stored = [row.embedding for row in rows]
    return [from_bytes(plain).tolist() for plain in vault.opener(stored).open(stored, bindings)]
