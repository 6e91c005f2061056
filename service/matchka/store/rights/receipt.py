"""Receipts of erasures: what was erased, when and by which service, signed with Ed25519 (RFC 8032)."""

import base64
import json
from datetime import UTC
from typing import Final, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from matchka.errors import ReceiptError
from matchka.store.rights.erasure import Erasure
from matchka.store.subject_hash import SubjectHasher

PURPOSE: Final = b"matchka-erasure-receipt-1\n"  # so that a signature made for something else is never one of a receipt
KEY_PURPOSE: Final = "receipt-1"  # the key comes of that of the subjects' hashes, and is backed up with it
HEX_64: Final = "^[0-9a-f]{64}$"


class ErasedRows(BaseModel):
    """How many rows were erased, by what they were."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    templates: int = Field(ge=0)
    references: int = Field(ge=0)
    challenges: int = Field(ge=0)
    attempts: int = Field(ge=0)
    terms: int = Field(ge=0)


class Receipt(BaseModel):
    """A receipt.

    Attributes:
        service: identity of the store.
        subject_hash: keyed hash of tenant and subject id; `hash_key` names the key.
        erased_at: ISO 8601, UTC.
        template_ids: the entries of the deletion log.
        key_destroyed: whether the subject had a key of its own, without which no copy of its templates can be read.
        complete: whether nothing of it was left in write-ahead logs either; else they were still to be emptied.
        public_key: base64 of 32 bytes.
        signature: base64 of 64 bytes, of all the others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["matchka-erasure-receipt-1"]
    service: str = Field(pattern="^[0-9a-f]{32}$")
    tenant: str = Field(max_length=64)
    subject_hash: str = Field(pattern=HEX_64)
    hash_key: str = Field(pattern="^[0-9a-f]{16}$")
    erased_at: str = Field(max_length=40)
    erased: ErasedRows
    template_ids: list[str]
    key_destroyed: bool
    complete: bool
    public_key: str
    signature: str

    def signed_bytes(self) -> bytes:
        """What the signature is of."""
        told = self.model_dump(exclude={"signature"})
        return PURPOSE + json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sign_receipt(erasure: Erasure, hasher: SubjectHasher, service: str, complete: bool) -> Receipt:
    """A receipt of an erasure that is committed.

    Args:
        erasure: what was erased.
        hasher: of the service.
        service: identity of its store.
        complete: whether nothing is left in write-ahead logs.
    """
    key = _key_of(hasher)
    unsigned = Receipt(
        format="matchka-erasure-receipt-1",
        service=service,
        tenant=erasure.tenant,
        subject_hash=hasher.hash_of(erasure.tenant, erasure.subject_id),
        hash_key=hasher.name,
        erased_at=erasure.erased_at.astimezone(UTC).isoformat(),
        erased=ErasedRows(
            templates=len(erasure.template_ids),
            references=erasure.references,
            challenges=erasure.challenges,
            attempts=erasure.attempts,
            terms=erasure.terms,
        ),
        template_ids=list(erasure.template_ids),
        key_destroyed=erasure.has_key,
        complete=complete,
        public_key=_text_of(key.public_key()),
        signature="",
    )
    return unsigned.model_copy(update={"signature": base64.b64encode(key.sign(unsigned.signed_bytes())).decode()})


def receipt_key(hasher: SubjectHasher) -> str:
    """The public key of a service's receipts, base64 of 32 bytes."""
    return _text_of(_key_of(hasher).public_key())


def verify_receipt(content: bytes, public_key: str) -> Receipt:
    """Check a receipt, as it was handed out.

    Args:
        content: the file.
        public_key: of the service that it is said to be of, base64.

    Raises: ReceiptError: it is none, of another service, or was changed.
    """
    try:
        receipt = Receipt.model_validate_json(content)
        signature = base64.b64decode(receipt.signature, validate=True)
    except (ValidationError, ValueError) as error:
        raise _false("This is no receipt of an erasure.", type(error).__name__) from error
    if receipt.public_key != public_key:
        raise _false("The receipt is signed by another key.", receipt.public_key)
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
        key.verify(signature, receipt.signed_bytes())
    except (InvalidSignature, ValueError) as error:
        raise _false("The receipt's signature is false: the receipt was changed.", receipt.signature) from error
    if base64.b64encode(signature).decode() != receipt.signature:  # unused bits of its last digit
        raise _false("The receipt's signature is not as it was written.", receipt.signature)
    return receipt


def _key_of(hasher: SubjectHasher) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hasher.derive(KEY_PURPOSE))


def _text_of(key: Ed25519PublicKey) -> str:
    return base64.b64encode(key.public_bytes_raw()).decode()


def _false(detail: str, value: object) -> ReceiptError:
    return ReceiptError(detail, value=value, remedy="Ask for it again where it came from, and for the service's key.")
