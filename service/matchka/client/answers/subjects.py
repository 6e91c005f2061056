"""Subjects, what is kept of them, and what is left when they are deleted."""

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from matchka.client.answers.answer import Answer
from matchka.client.answers.service import AuditRecordAnswer


class TemplateAnswer(Answer):
    """A template, without its embedding."""

    template_id: str
    model: str
    version: str
    created_at: datetime


class TermsAnswer(Answer):
    """Why somebody is enrolled, and until when; None where that was never said, or never ends."""

    consent: str | None = None  # no older service of version 1 tells these
    purpose: str | None = None
    expires_at: datetime | None = None
    metadata: dict[str, str | int | float] = Field(default_factory=dict)


class SubjectTermsAnswer(TermsAnswer):
    """A subject's terms, after a change."""

    subject_id: str


class SubjectAnswer(TermsAnswer):
    """A subject, its terms and its templates."""

    subject_id: str
    created_at: datetime
    template_count: int
    templates: list[TemplateAnswer]


class ExportedEmbedding(Answer):
    """A template; or a reference, the mean of `template_count` of them, which has no id and no time of its own."""

    template_id: str
    model: str
    version: str
    created_at: datetime | None
    template_count: int
    row_count: int | None
    condition: float | None
    embedding: list[float]


class ExportedChallenge(Answer):
    """What the person was asked; `used_at` is None until it was answered."""

    kind: str
    content: str
    issued_at: datetime
    expires_at: datetime
    used_at: datetime | None


class ExportedAttempts(Answer):
    """Failed tries that are counted, by the key that they came with."""

    key_id: str
    level: float
    strikes: int
    updated_at: datetime
    blocked_until: datetime | None


class ExportedDeletion(Answer):
    """An entry of the deletion log: a template that the same id had."""

    template_id: str
    deleted_at: datetime


class ExportedAnswer(Answer):
    """What an enrolment was answered, kept for a request that is sent again."""

    answered_at: datetime
    answer: dict[str, Any]


class SubjectExportAnswer(Answer):
    """All that is held about one person, when it was read, in clear; what a newer service adds is kept."""

    model_config = ConfigDict(extra="allow")

    format: str
    service: str
    tenant: str
    subject_id: str
    subject_hash: str | None
    created_at: datetime
    read_at: datetime
    is_encrypted: bool
    terms: TermsAnswer
    templates: list[ExportedEmbedding]
    references: list[ExportedEmbedding]
    challenges: list[ExportedChallenge]
    attempts: list[ExportedAttempts]
    deletions: list[ExportedDeletion]
    audit: list["AuditRecordAnswer"]
    answers: list[ExportedAnswer] = Field(default_factory=list)


class ErasedRows(Answer):
    """How many rows were erased, by what they were."""

    templates: int
    references: int
    challenges: int
    attempts: int
    terms: int


class Receipt(Answer):
    """A signed receipt of a deletion; `matchka receipt verify` checks the file that it is written into."""

    model_config = ConfigDict(extra="allow")

    format: Literal["matchka-erasure-receipt-1"]
    service: str
    tenant: str
    subject_hash: str
    hash_key: str
    erased_at: str
    erased: ErasedRows
    template_ids: list[str]
    key_destroyed: bool
    complete: bool
    public_key: str
    signature: str


class ReceiptKeyAnswer(Answer):
    """The public key of receipts of deletions, Ed25519, base64 of 32 bytes."""

    public_key: str


class SubjectSummaryAnswer(Answer):
    """A subject in a page."""

    subject_id: str
    created_at: datetime
    template_count: int


class SubjectsAnswer(Answer):
    """A page of subjects; `next_cursor` is None on the last."""

    subjects: list[SubjectSummaryAnswer]
    next_cursor: str | None
