"""The calls of HTTP v1: each function describes one, and says how its answer is read. Nothing is sent here."""

from matchka.client.calls.analysis import classify, generate, morph, pronounce, transcribe
from matchka.client.calls.call import IDEMPOTENCY_KEY, AnswerT, Call, Part, Sample, Value
from matchka.client.calls.decisions import (
    challenge,
    compare,
    head_turn,
    identify,
    verify,
    verify_jointly,
    verify_turning,
)
from matchka.client.calls.enrolment import (
    change_subject,
    delete_subject,
    delete_template,
    embed,
    enroll,
    export_subject,
    receipt_of_deletion,
    subject,
    subjects,
)
from matchka.client.calls.service import audit, create_key, keys, metrics, models, ready, receipt_key, revoke_key

__all__ = [
    "IDEMPOTENCY_KEY",
    "AnswerT",
    "Call",
    "Part",
    "Sample",
    "Value",
    "audit",
    "challenge",
    "change_subject",
    "classify",
    "compare",
    "create_key",
    "delete_subject",
    "delete_template",
    "embed",
    "enroll",
    "export_subject",
    "generate",
    "head_turn",
    "identify",
    "keys",
    "metrics",
    "models",
    "morph",
    "pronounce",
    "ready",
    "receipt_key",
    "receipt_of_deletion",
    "revoke_key",
    "subject",
    "subjects",
    "transcribe",
    "verify",
    "verify_jointly",
    "verify_turning",
]
