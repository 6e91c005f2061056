"""Only what a trusted key signed passes, and only as it was signed."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from matchka.bundles.content import content_digest
from matchka.bundles.signature import (
    PURPOSE,
    SIGNATURE_NAME,
    Signature,
    TrustedKeys,
    public_key_text,
    sign,
)
from matchka.errors import BundleError, SettingsError

# RFC 8032, 7.1, test 1: a published key pair
SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
KEY = Ed25519PrivateKey.from_private_bytes(SECRET)
DIGEST = hashlib.sha256(b"content").hexdigest()


def trusting(*keys: bytes) -> TrustedKeys:
    return TrustedKeys.parse(", ".join(base64.b64encode(key).decode() for key in keys))


def edit(folder: Path, **changes: str) -> None:
    path = folder / SIGNATURE_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_public_key_text_is_that_of_the_published_pair():
    assert base64.b64decode(public_key_text(KEY)) == PUBLIC


def test_a_signature_of_a_trusted_key_passes_and_is_one_of_purpose_and_digest(tmp_path):
    signed = sign(tmp_path, DIGEST, KEY)
    Ed25519PublicKey.from_public_bytes(PUBLIC).verify(base64.b64decode(signed.signature), PURPOSE + DIGEST.encode())
    trusting(bytes(32), PUBLIC).require_signature(tmp_path, DIGEST)
    assert Signature.model_validate_json((tmp_path / SIGNATURE_NAME).read_text()) == signed


def test_a_signature_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / SIGNATURE_NAME).mkdir()
    with pytest.raises(BundleError, match="cannot be written"):
        sign(tmp_path, DIGEST, KEY)


def test_without_trusted_keys_no_signature_is_needed(tmp_path):
    TrustedKeys.parse("").require_signature(tmp_path, DIGEST)


def test_without_a_signature_a_trusted_key_refuses(tmp_path):
    with pytest.raises(BundleError, match="no signature"):
        trusting(PUBLIC).require_signature(tmp_path, DIGEST)


def test_what_states_no_digest_is_refused_by_a_trusted_key_alone(tmp_path):
    TrustedKeys().require_signature(tmp_path, None)
    with pytest.raises(BundleError, match="no content digest") as refused:
        trusting(PUBLIC).require_signature(tmp_path, None)
    assert "matchka-export" in refused.value.remedy


def test_a_signature_of_an_unknown_key_is_refused(tmp_path):
    sign(tmp_path, DIGEST, Ed25519PrivateKey.generate())
    with pytest.raises(BundleError, match="not among MATCHKA_TRUSTED_BUNDLE_KEYS"):
        trusting(PUBLIC).require_signature(tmp_path, DIGEST)


def test_a_signature_of_other_content_is_refused(tmp_path):
    sign(tmp_path, DIGEST, KEY)
    with pytest.raises(BundleError, match="other content"):
        trusting(PUBLIC).require_signature(tmp_path, hashlib.sha256(b"edited").hexdigest())


def test_a_signature_that_claims_other_content_is_false(tmp_path):
    sign(tmp_path, DIGEST, KEY)
    edited = hashlib.sha256(b"edited").hexdigest()
    edit(tmp_path, content_digest=edited)
    with pytest.raises(BundleError, match="is false"):
        trusting(PUBLIC).require_signature(tmp_path, edited)


def test_a_signature_that_claims_a_trusted_key_is_false(tmp_path):
    sign(tmp_path, DIGEST, Ed25519PrivateKey.generate())
    edit(tmp_path, public_key=base64.b64encode(PUBLIC).decode())
    with pytest.raises(BundleError, match="is false"):
        trusting(PUBLIC).require_signature(tmp_path, DIGEST)


def test_a_signature_for_another_purpose_is_false(tmp_path):
    sign(tmp_path, DIGEST, KEY)
    edit(tmp_path, signature=base64.b64encode(KEY.sign(DIGEST.encode())).decode())
    with pytest.raises(BundleError, match="is false"):
        trusting(PUBLIC).require_signature(tmp_path, DIGEST)


@pytest.mark.parametrize(
    "changes", [{"signature": "%"}, {"public_key": "%"}, {"public_key": "ä"}, {"signature": "AAAA"}, {"format": "x"}]
)
def test_a_damaged_signature_is_refused(tmp_path, changes):
    sign(tmp_path, DIGEST, KEY)
    edit(tmp_path, **changes)
    with pytest.raises(BundleError):
        trusting(PUBLIC).require_signature(tmp_path, DIGEST)


@pytest.mark.parametrize("text", ["%", "ä", "AAAA", "a" * 64, ",", " "])
def test_a_trusted_key_that_is_none_stops_the_start(text):
    with pytest.raises(SettingsError, match="base64 of 32 bytes"):
        TrustedKeys.parse(text)


def test_content_digest_changes_with_any_value_and_not_with_order():
    document = {"version": "1", "per_dim": {"16": {"threshold": 0.5}}, "files": {"model.onnx": "00"}}
    expected = '{"files":{"model.onnx":"00"},"per_dim":{"16":{"threshold":0.5}},"version":"1"}'
    assert content_digest(document) == hashlib.sha256(expected.encode()).hexdigest()
    assert content_digest(dict(reversed(document.items()))) == content_digest(document)
    assert content_digest(document | {"per_dim": {"16": {"threshold": -0.9}}}) != content_digest(document)
