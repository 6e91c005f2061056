"""The service itself: keys, the audit log, health, and problems."""

from datetime import datetime

from pydantic import Field

from matchka.api.answers.answer import Answer, Score
from matchka.api.answers.enrolment import SkippedFileAnswer


class KeyAnswer(Answer):
    """An API key, without its secret. A ceiling that is null bounds nothing; `last_used_at` is exact to a minute.

    `replaced_by` is the key that rotation made in its place.
    """

    key_id: str
    name: str
    tenant: str
    scopes: list[str]
    max_fmr: float | None
    max_fpir: float | None
    requests_per_s: float | None
    max_subjects: int | None
    max_templates: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    replaced_by: str | None
    last_used_at: datetime | None


class NewKeyAnswer(KeyAnswer):
    """A key that was just made; `key` is what its callers send, and is shown only here."""

    key: str


class KeysAnswer(Answer):
    """The keys of the caller's tenant, revoked ones included, oldest first."""

    keys: list[KeyAnswer]


class AuditRecordAnswer(Answer):
    """A record of the audit log. `subject` is a keyed hash of the tenant and the id; `count`: see docs/audit.md."""

    at: datetime
    outcome: str
    call: str
    tenant: str | None
    key_id: str | None
    subject: str | None
    model: str | None
    version: str | None
    threshold: Score
    detail: str | None
    network: str | None
    request_id: str | None
    count: int


class AuditAnswer(Answer):
    """A page of the audit log, oldest first; pass next_cursor to get the next page, until it is null."""

    records: list[AuditRecordAnswer]
    next_cursor: str | None


class HealthAnswer(Answer):
    """State of the process."""

    status: str


class ReadyAnswer(HealthAnswer):
    """Ready, and how many subjects have no template of the current version of a model, by model."""

    subjects_to_reenroll: dict[str, int]


class Problem(Answer):
    """An error, as application/problem+json (RFC 9457) with a stable code, the offending value and the remedy."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    value: str | None
    remedy: str
    request_id: str | None = None
    skipped: list[SkippedFileAnswer] = Field(
        default_factory=list,
        description="Only where bad files were to be left out and none was left: why each was refused.",
    )
