"""The service itself: its models, keys, audit log, metrics and readiness."""

from collections.abc import Iterable

from matchka.client.answers import AuditAnswer, KeysAnswer, ModelsAnswer, NewKeyAnswer, ReadyAnswer, ReceiptKeyAnswer
from matchka.client.calls.call import Call, Value, form_call, nothing, quoted


def models() -> Call[ModelsAnswer]:
    """The served bundles."""
    return Call("GET", "/v1/models", ModelsAnswer.model_validate_json, is_safe=True)


def keys() -> Call[KeysAnswer]:
    """The API keys of the caller's tenant, without their secrets."""
    return Call("GET", "/v1/keys", KeysAnswer.model_validate_json, is_safe=True)


def create_key(
    name: str,
    scopes: str | Iterable[str] | None = None,
    lifetime_s: float | None = None,
    max_fmr: float | None = None,
    max_fpir: float | None = None,
    requests_per_s: float | None = None,
    max_subjects: int | None = None,
    max_templates: int | None = None,
) -> Call[NewKeyAnswer]:
    """Make an API key, in force within a second; `key` of the answer is its secret, which is told only there.

    Args:
        name: for people.
        scopes: their names, also as one text with commas; `all`; `enroll,verify,identify` by default.
        lifetime_s: seconds until it expires; never by default.
        max_fmr: highest false match rate that its calls may ask for; 1e-2 by default, 1 bounds nothing.
        max_fpir: the same of identifications.
        requests_per_s: most requests a second.
        max_subjects: subjects of the tenant, above which it enrols nobody new.
        max_templates: most templates of a subject.
    """
    fields: dict[str, Value] = {
        "name": name,
        "scopes": scopes if scopes is None or isinstance(scopes, str) else ",".join(scopes),
        "lifetime_s": lifetime_s,
        "max_fmr": max_fmr,
        "max_fpir": max_fpir,
        "requests_per_s": requests_per_s,
        "max_subjects": max_subjects,
        "max_templates": max_templates,
    }
    return form_call("keys", NewKeyAnswer.model_validate_json, fields, ())


def revoke_key(key_id: str) -> Call[None]:
    """Take an API key out of force within a second."""
    return Call("DELETE", f"/v1/keys/{quoted(key_id)}", nothing)


def audit(limit: int = 100, cursor: str | None = None, subject_id: str | None = None) -> Call[AuditAnswer]:
    """A page of the tenant's audit log, oldest first.

    Args:
        limit: most records, 1 to 1000.
        cursor: next_cursor of the page before.
        subject_id: only records about this subject.
    """
    given = {"limit": str(limit), "cursor": cursor, "subject_id": subject_id}
    fields = {name: value for name, value in given.items() if value is not None}
    return Call("GET", "/v1/audit", AuditAnswer.model_validate_json, fields, is_safe=True)


def receipt_key() -> Call[ReceiptKeyAnswer]:
    """The public key of the service's receipts."""
    return Call("GET", "/v1/receipt-key", ReceiptKeyAnswer.model_validate_json, is_safe=True)


def metrics() -> Call[str]:
    """The service's metrics, in Prometheus's text format."""
    return Call("GET", "/metrics", bytes.decode, is_safe=True)


def ready() -> Call[ReadyAnswer]:
    """Whether the service is ready; refused with status 503 while it is not."""
    return Call("GET", "/readyz", ReadyAnswer.model_validate_json)
