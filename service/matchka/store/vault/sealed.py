"""The form of an encrypted embedding, and what binds it to its row.

    a NaN (4 bytes) | key id (16) | nonce (12) | ciphertext (as long as the embedding) | tag (16)

An embedding in clear is finite, so none begins with a NaN: the first four bytes tell the two apart. The length stays a
multiple of four, so the digest of a row's bytes (store/integrity/digest.py) is one of the ciphertext.
"""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from matchka.errors import StorageDamagedError

MARK: Final = b"\x01\x4d\xc0\x7f"  # a NaN as little-endian float32
KEY_ID_BYTES: Final = 16
NONCE_BYTES: Final = 12  # NIST SP 800-38D: random ones allow 2^32 messages of a key
NONCE_START: Final = len(MARK) + KEY_ID_BYTES
CIPHERTEXT_START: Final = NONCE_START + NONCE_BYTES
SEALED_MORE_BYTES: Final = CIPHERTEXT_START + 16  # than in clear; 16 of them are the tag
NO_TEMPLATE: Final = bytes(16)
_TIME_BYTES: Final = 6

WrappedKey = tuple[bytes, int, bytes]  # its id, the number of the tenant's key, and what that wraps


@dataclass(frozen=True)
class Binding:
    """Whose and of what an embedding is: associated data, without which its ciphertext cannot be opened."""

    tenant: str
    model: str
    version: str

    @cached_property
    def _common(self) -> bytes:
        parts = (part.encode() for part in (self.tenant, self.model, self.version))
        return b"matchka-embedding-1" + b"".join(len(part).to_bytes(2) + part for part in parts)

    def of_reference(self, subject_key: int) -> bytes:
        """Associated data of a subject's reference."""
        return subject_key.to_bytes(8) + NO_TEMPLATE + self._common

    def of_references(self, subject_keys: Iterable[int]) -> list[bytes]:
        """Associated data of many subjects' references."""
        end = NO_TEMPLATE + self._common
        return [key.to_bytes(8) + end for key in subject_keys]

    def of_template(self, subject_key: int, template_id: str) -> bytes:
        """Associated data of a template. Args: template_id: 32 hexadecimal digits."""
        return subject_key.to_bytes(8) + bytes.fromhex(template_id) + self._common


def answer_binding(subject_key: int, tenant: str) -> bytes:
    """Associated data of the encrypted answer of an enrolment: of whose it is."""
    return subject_key.to_bytes(8) + NO_TEMPLATE + b"matchka-enrolment-answer-1" + tenant.encode()


def new_key_ids(count: int) -> list[bytes]:
    """Ids that nobody has, which rise with the time: keys that are read together lie together.

    Source: RFC 9562, UUID version 7, without its version bits.
    """
    now = (time.time_ns() // 1_000_000).to_bytes(_TIME_BYTES)
    return sorted(now + os.urandom(KEY_ID_BYTES - _TIME_BYTES) for _ in range(count))


def is_sealed(stored: bytes) -> bool:
    """Whether stored bytes are an encrypted embedding.

    >>> is_sealed(MARK + bytes(44)), is_sealed(bytes(48))
    (True, False)
    """
    return stored[:4] == MARK


def key_ids_of(stored: Iterable[bytes]) -> set[bytes]:
    """The ids of the keys that open the encrypted ones among stored embeddings."""
    return {one[4:NONCE_START] for one in stored if one[:4] == MARK}


def seal(key: AESGCM, key_id: bytes, plain: bytes, binding: bytes) -> bytes:
    """Encrypt an embedding under its subject's key."""
    nonce = os.urandom(NONCE_BYTES)
    return b"".join((MARK, key_id, nonce, key.encrypt(nonce, plain, binding)))


def unseal_all(
    sealed: Iterable[bytes],
    bindings: Iterable[bytes],
    keys: Mapping[bytes, WrappedKey],
    wrapping: Mapping[int, AESGCM],
) -> list[bytes]:
    """Decrypt embeddings; one function for many, because a call for each step takes as long as the step.

    Args:
        sealed: encrypted embeddings.
        bindings: what each is bound to.
        keys: wrapped keys by their ids.
        wrapping: tenants' keys by their numbers.

    Raises: InvalidTag: one, or its key, was changed, or is of another row.
    """
    opened = []
    for one, binding in zip(sealed, bindings, strict=True):
        key_id, number, wrapped = keys[one[4:NONCE_START]]
        secret = wrapping[number].decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], key_id)
        opened.append(AESGCM(secret).decrypt(one[NONCE_START:CIPHERTEXT_START], one[CIPHERTEXT_START:], binding))
    return opened


def not_opened() -> StorageDamagedError:
    """The error for an embedding that its key does not open."""
    return StorageDamagedError(
        "An encrypted embedding cannot be opened: it, its key or its row is not what was written.",
        remedy="Run `matchka gallery verify`, and restore a backup into a new data folder.",
    )


def embedding_in_clear() -> StorageDamagedError:
    """The error for an embedding that the vault did not write."""
    return StorageDamagedError(
        "An embedding is in clear, in a store of which all are encrypted: the vault did not write it.",
        remedy="Find out who can write to the database, and restore a backup into a new data folder.",
    )


def wrap(wrapping: AESGCM, key: bytes, binding: bytes) -> bytes:
    """Encrypt a key under another."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + wrapping.encrypt(nonce, key, binding)


def unwrap(wrapping: AESGCM, wrapped: bytes, binding: bytes) -> bytes:
    """Decrypt a key.

    Raises: StorageDamagedError: it was changed, or was wrapped as another.
    """
    try:
        return wrapping.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], binding)
    except InvalidTag as error:
        raise StorageDamagedError(
            "A key of the key store cannot be opened: it is not what was written.",
            remedy="Restore the copy of the key store that `matchka vault backup` wrote.",
        ) from error
