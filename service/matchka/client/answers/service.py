"""The service itself: readiness, keys, the audit log, and problems."""

from datetime import datetime

from pydantic import Field

from matchka.client.answers.answer import Answer
from matchka.client.answers.enrolment import SkippedFileAnswer


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
    """A record of the audit log: who asked for what, and what was decided.

    `subject` is a keyed hash; `count` says for how many refusals of the same kind it stands, or how many templates.
    """

    at: datetime
    outcome: str
    call: str
    tenant: str | None
    key_id: str | None
    subject: str | None
    model: str | None
    version: str | None
    threshold: float | None
    detail: str | None
    network: str | None
    request_id: str | None
    count: int


class AuditAnswer(Answer):
    """A page of the audit log, oldest first; `next_cursor` is null on the last one."""

    records: list[AuditRecordAnswer]
    next_cursor: str | None


class ReadyAnswer(Answer):
    """Ready, and how many subjects have no template of the current version of a model, by model."""

    status: str
    subjects_to_reenroll: dict[str, int]


class Problem(Answer):
    """An error (RFC 9457) with a stable code, the offending value and the remedy."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    value: str | None
    remedy: str
    request_id: str | None = None
    skipped: list[SkippedFileAnswer] = Field(default_factory=list)
