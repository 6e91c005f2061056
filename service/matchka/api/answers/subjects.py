"""Who is enrolled, under which terms, and what is kept of him."""

from datetime import datetime
from typing import Any

from pydantic import Field

from matchka.api.answers.answer import Answer
from matchka.api.answers.service import AuditRecordAnswer


class TemplateAnswer(Answer):
    """A template, without its embedding."""

    template_id: str
    model: str
    version: str
    created_at: datetime


class TermsAnswer(Answer):
    """Why somebody is enrolled, and until when; null where that was never said, or never ends."""

    consent: str | None = None
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
    """What the person was asked; `used_at` is null until it was answered."""

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
    """All that is held about one person, when it was read, in clear.

    `subject_hash` names the person where its id is not kept: in the deletion log, the audit log and receipts. Backups,
    exports to other systems and logs of proxies are the operator's, and not in here.
    """

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
    answers: list[ExportedAnswer] = Field(default_factory=list)  # no older service of version 1 tells them


class ReceiptKeyAnswer(Answer):
    """The public key of receipts, Ed25519, base64 of 32 bytes."""

    public_key: str


class SubjectSummaryAnswer(Answer):
    """A subject in a page."""

    subject_id: str
    created_at: datetime
    template_count: int


class SubjectsAnswer(Answer):
    """A page of subjects; `next_cursor` is null on the last."""

    subjects: list[SubjectSummaryAnswer]
    next_cursor: str | None
