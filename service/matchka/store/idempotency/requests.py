"""By what a request that is sent again is known: keyed digests, which tell nobody else who sent what."""

import hmac
from dataclasses import dataclass

from matchka.store.subject_hash import SubjectHasher


@dataclass(frozen=True)
class NamedRequest:
    """A request that its caller gave a key.

    Attributes:
        tenant: the caller's.
        name: digest of whose key it is and of the key, 32 bytes: another caller's same key has another one.
        content: digest of what is asked for, 32 bytes.
    """

    tenant: str
    name: bytes
    content: bytes


def named_request(
    hasher: SubjectHasher, tenant: str, key_id: str | None, idempotency_key: str, content: bytes
) -> NamedRequest:
    """Name a request.

    Args:
        hasher: of the store; all replicas have the same.
        tenant: the caller's.
        key_id: of the caller's API key; None where none is in force.
        idempotency_key: the caller's own name of the request.
        content: all that it asks for, in one form however it was written.

    >>> hasher = SubjectHasher(bytes(32))
    >>> one, other = (named_request(hasher, "default", key_id, "k", b"") for key_id in ("first", "second"))
    >>> one.name == other.name, one.content == other.content
    (False, True)
    """
    parts = [part.encode() for part in (tenant, key_id or "", idempotency_key)]
    whose = b"".join(len(part).to_bytes(2) + part for part in parts)
    return NamedRequest(
        tenant,
        hmac.digest(hasher.derive("idempotency-key-1"), whose, "sha256"),
        hmac.digest(hasher.derive("idempotent-request-1"), content, "sha256"),
    )
