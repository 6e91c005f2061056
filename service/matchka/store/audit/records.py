"""Records of the audit log: what happened, and its one form in bytes."""

import json
import math
import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

MODEL: Final = re.compile(r"[a-z0-9][a-z0-9._+-]{0,63}", re.IGNORECASE)  # a caller's text is never kept as it comes


class Outcome(StrEnum):
    """How a call ended."""

    MATCH = "match"
    NO_MATCH = "no_match"
    UNKNOWN = "unknown"  # nobody who is enrolled, no class that is known
    DONE = "done"  # answered, where there was nothing to decide
    ENROLLED = "enrolled"
    DELETED = "deleted"
    CHANGED = "changed"  # what a subject is enrolled for, and until when
    CREATED = "created"
    REVOKED = "revoked"
    ROTATED = "rotated"
    BEGUN = "begun"
    REFUSED = "refused"  # `detail` has the problem's code
    RESTORED = "restored"
    PRUNED = "pruned"  # records of the log itself; `detail` is the place of the last one, signed
    UNANCHORED = "unanchored"  # the log went on without the checkpoint that should have been there
    BROKEN = "broken"  # the log is not the one that was checkpointed


@dataclass(frozen=True)
class Event:
    """What is to be recorded; its subject is hashed when it is.

    Attributes:
        call: method and path pattern, or the command.
        key_id: who asked; None where it had no valid key.
        count: templates of a change, or refusals that one record stands for.
        detail: a problem's code, the id of the key that was changed, the identity of a store.
        network: where a request without a valid key came from.
    """

    outcome: Outcome
    call: str
    tenant: str | None = None
    key_id: str | None = None
    subject_id: str | None = None
    model: str | None = None
    version: str | None = None
    threshold: float | None = None
    detail: str | None = None
    network: str | None = None
    request_id: str | None = None
    count: int = 1


@dataclass(frozen=True)
class AuditRecord:
    """A record of the log. Attributes: subject: HMAC of its tenant and id (store/subject_hash.py)."""

    sequence: int
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

    def as_json(self) -> dict[str, Any]:
        """Its fields, the time as text."""
        return {name: getattr(self, name) for name in FIELDS} | {"at": _written(self.at)}

    def as_bytes(self) -> bytes:
        """The form that is hashed: a JSON list of all fields in the order above, ASCII, without blanks."""
        return json.dumps(list(self.as_json().values()), separators=(",", ":")).encode("ascii")


FIELDS: Final = tuple(field.name for field in fields(AuditRecord))


def record_of(event: Event, sequence: int, at: datetime, subject: str | None) -> AuditRecord:
    """The record of an event."""
    threshold = event.threshold if event.threshold is None or math.isfinite(event.threshold) else None
    return AuditRecord(
        sequence=sequence,
        at=at,
        outcome=str(event.outcome),
        call=event.call,
        tenant=event.tenant,
        key_id=event.key_id,
        subject=subject,
        model=event.model if event.model is None or MODEL.fullmatch(event.model) else None,
        version=event.version,
        threshold=threshold,
        detail=event.detail,
        network=event.network,
        request_id=event.request_id,
        count=event.count,
    )


def _written(at: datetime) -> str:
    """A time in one form, to the microsecond, whatever zone a database answers in.

    >>> from datetime import timedelta, timezone
    >>> _written(datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1))))
    '2026-01-02T02:04:05.000000Z'
    """
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
