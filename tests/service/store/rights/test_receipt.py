"""Receipts: signed by the service's key, and false with any byte changed."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from matchka.errors import ReceiptError, StoreError
from matchka.store.rights.erasure import Erasure
from matchka.store.rights.receipt import Receipt, receipt_key, sign_receipt, verify_receipt
from matchka.store.store import opened_store
from matchka.store.subject_hash import SubjectHasher

HASHER = SubjectHasher(bytes(range(32)))
WHEN = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=timezone(timedelta(hours=2)))
ERASURE = Erasure("tänant", "ada", 17, WHEN, ("0" * 32, "f" * 32), 2, 1, 0, 1, True)


@pytest.fixture(scope="module")
def receipt() -> Receipt:
    return sign_receipt(ERASURE, HASHER, "5" * 32, complete=True)


def test_receipt_tells_what_was_erased_and_not_of_whom(receipt: Receipt):
    told = json.loads(receipt.model_dump_json())
    assert told["erased"] == {"templates": 2, "references": 2, "challenges": 1, "attempts": 0, "terms": 1}
    assert told["template_ids"] == ["0" * 32, "f" * 32]
    assert datetime.fromisoformat(told["erased_at"]) == WHEN.astimezone(UTC)
    assert (told["tenant"], told["service"], told["key_destroyed"], told["complete"]) == (
        "tänant",
        "5" * 32,
        True,
        True,
    )
    assert told["subject_hash"] == HASHER.hash_of("tänant", "ada")
    assert '"ada"' not in receipt.model_dump_json()


def test_signature_is_ed25519_of_the_sorted_fields(receipt: Receipt):
    fields = json.loads(receipt.model_dump_json())
    signature = base64.b64decode(fields.pop("signature"))
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(receipt_key(HASHER)))
    key.verify(signature, b"matchka-erasure-receipt-1\n" + text.encode())  # raises where it is not


def test_receipt_as_it_was_written_is_true(receipt: Receipt):
    key = receipt_key(HASHER)
    assert verify_receipt(receipt.model_dump_json().encode(), key) == receipt
    assert verify_receipt(receipt.model_dump_json(indent=2).encode() + b"\n", key) == receipt


def test_receipt_with_any_byte_changed_is_false(receipt: Receipt):
    content = receipt.model_dump_json().encode()
    key = receipt_key(HASHER)
    for place in range(len(content)):
        for mask in (0x01, 0x20):  # another letter, and the other case
            changed = bytearray(content)
            changed[place] ^= mask
            with pytest.raises(ReceiptError):
                verify_receipt(bytes(changed), key)


@pytest.mark.parametrize("change", [{"complete": False}, {"signature": ""}, {"more": 1}, {"tenant": None}])
def test_receipt_with_a_field_changed_added_or_left_out_is_false(receipt: Receipt, change: dict[str, object]):
    fields = json.loads(receipt.model_dump_json()) | change
    changed = json.dumps({name: value for name, value in fields.items() if value is not None})
    with pytest.raises(ReceiptError):
        verify_receipt(changed.encode(), receipt_key(HASHER))


def test_receipt_of_another_service_is_false_under_this_ones_key():
    other = SubjectHasher(bytes(32))
    forged = sign_receipt(ERASURE, other, "5" * 32, complete=True).model_dump_json().encode()
    assert verify_receipt(forged, receipt_key(other))
    with pytest.raises(ReceiptError, match="another key"):
        verify_receipt(forged, receipt_key(HASHER))
    # and with the right key's name put into it
    renamed = forged.replace(receipt_key(other).encode(), receipt_key(HASHER).encode())
    with pytest.raises(ReceiptError, match="false"):
        verify_receipt(renamed, receipt_key(HASHER))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b"null"])
def test_file_that_is_no_receipt_is_refused(content: bytes):
    with pytest.raises(ReceiptError, match="no receipt"):
        verify_receipt(content, receipt_key(HASHER))


def test_store_opened_without_the_key_signs_nothing(tmp_path: Path):
    with opened_store(f"sqlite:///{tmp_path / 'store.sqlite'}") as store, pytest.raises(StoreError, match="without"):
        store.rights.receipt(ERASURE, complete=True)
