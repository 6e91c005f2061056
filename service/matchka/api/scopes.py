"""Which scope each call needs: one table, for a call without a row is none."""

from typing import Final

from starlette.routing import compile_path

from matchka.store.keys.scopes import Scope

# None: any key will do, whatever its scopes
SCOPES: Final[dict[tuple[str, str], Scope | None]] = {
    ("POST", "/v1/embed"): Scope.EMBED,
    ("POST", "/v1/embeddings"): Scope.EMBED,
    ("POST", "/v1/enroll"): Scope.ENROLL,  # and append, where the subject has templates of the model
    ("POST", "/v1/verify"): Scope.VERIFY,
    ("POST", "/v1/compare"): Scope.VERIFY,
    ("POST", "/v1/challenges"): Scope.VERIFY,
    ("POST", "/v1/identify"): Scope.IDENTIFY,
    ("POST", "/v1/classify"): Scope.ANALYSE,
    ("POST", "/v1/transcribe"): Scope.ANALYSE,
    ("POST", "/v1/pronounce"): Scope.ANALYSE,
    ("POST", "/v1/generate"): Scope.ANALYSE,
    ("POST", "/v1/morph"): Scope.ANALYSE,
    ("GET", "/v1/subjects"): Scope.SUBJECTS_READ,
    ("GET", "/v1/subjects/{subject_id}"): Scope.SUBJECTS_READ,
    ("GET", "/v1/subjects/{subject_id}/export"): Scope.ADMIN,
    ("PATCH", "/v1/subjects/{subject_id}"): Scope.ADMIN,
    ("DELETE", "/v1/subjects/{subject_id}"): Scope.SUBJECTS_DELETE,
    ("DELETE", "/v1/templates/{template_id}"): Scope.SUBJECTS_DELETE,
    ("GET", "/v1/receipt-key"): None,
    ("GET", "/v1/models"): None,
    ("GET", "/v1/keys"): Scope.ADMIN,
    ("POST", "/v1/keys"): Scope.ADMIN,
    ("DELETE", "/v1/keys/{key_id}"): Scope.ADMIN,
    ("GET", "/v1/audit"): Scope.AUDIT_READ,
    ("GET", "/metrics"): Scope.METRICS,
}
OPEN: Final = frozenset({("GET", "/healthz"), ("GET", "/readyz")})  # without a key


def methods_of(path: str) -> frozenset[str]:
    """The methods of the calls of a path; none where that is no call's.

    >>> sorted(methods_of("/v1/subjects/ada"))
    ['DELETE', 'GET', 'PATCH']
    """
    return frozenset(method for method, template in SCOPES.keys() | OPEN if compile_path(template)[0].match(path))
