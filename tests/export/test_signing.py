"""Keys and signatures from the command line, each command in a process of its own."""

import base64
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from matchka.bundles.bundle import read_bundle
from matchka.bundles.signature import TrustedKeys
from matchka_export.errors import SigningKeyError
from matchka_export.signing import read_key, write_key_pair
from tests.factories.bundles import digest_of, edit_bundle, write_bundle, write_fusion
from tests.factories.checkout import ROOT


def export(folder: Path, *arguments: str, status: int = 0) -> str:
    """What `matchka-export` says, run in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "matchka_export", *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return " ".join((done.stdout + done.stderr).split())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two bundles and their fusion, and a pair of keys."""
    for name in ("voice", "face"):
        write_bundle(tmp_path / "models" / name, name)
    write_fusion(tmp_path / "models" / "voice+face")
    write_key_pair(tmp_path / "release")
    return tmp_path


FOLDERS = ("models/voice", "models/face", "models/voice+face")


def public_key(place: Path) -> str:
    return (place / "release.pub").read_text().strip()


@pytest.mark.slow
def test_keygen_writes_a_secret_key_and_its_public_half_once(tmp_path: Path) -> None:
    said = export(tmp_path, "keygen", "keys.2026")
    private, public = tmp_path / "keys.2026.key", tmp_path / "keys.2026.pub"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    key = load_pem_private_key(private.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    assert private.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert base64.b64decode(public.read_text()) == key.public_key().public_bytes_raw()
    assert f"MATCHKA_TRUSTED_BUNDLE_KEYS={public.read_text().strip()}" in said
    before = private.read_bytes()
    assert "not overwritten" in export(tmp_path, "keygen", "keys.2026", status=2)
    assert private.read_bytes() == before


@pytest.mark.parametrize("there", ["a.key", "a.pub"])
def test_write_key_pair_when_one_of_the_files_is_there_writes_neither(tmp_path: Path, there: str) -> None:
    (tmp_path / there).symlink_to(tmp_path / "nothing")
    with pytest.raises(SigningKeyError, match="not overwritten") as refused:
        write_key_pair(tmp_path / "a")
    assert str(refused.value.value).endswith(there)
    assert [path.name for path in tmp_path.iterdir()] == [there]


def test_write_key_pair_when_the_folder_is_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SigningKeyError, match="cannot be written"):
        write_key_pair(tmp_path / "absent" / "a")


@pytest.mark.slow
def test_sign_of_bundles_and_a_fusion_lets_verify_accept_them_by_that_key_only(place: Path) -> None:
    said = export(place, "sign", *FOLDERS, "--key", "release.key")
    for folder, label in zip(
        FOLDERS, ("voice 1.0.0", "face 1.0.0", "voice+face of voice 1.0.0, face 1.0.0"), strict=True
    ):
        name = "fusion.json" if "+" in folder else "manifest.json"
        digest = digest_of(json.loads((place / folder / name).read_text()))
        signed = json.loads((place / folder / "signature.json").read_text())
        assert (signed["content_digest"], signed["public_key"]) == (digest, public_key(place))
        assert f"Signed {folder}: {label}, content {digest[:8]}, by {public_key(place)}" in said
    assert said.count("Signed") == 3
    verified = export(place, "verify", *FOLDERS, "--trusted", public_key(place))
    assert verified.count("checks out") == 3
    write_key_pair(place / "other")
    other = (place / "other.pub").read_text().strip()
    assert "not among MATCHKA_TRUSTED_BUNDLE_KEYS" in export(place, "verify", *FOLDERS, "--trusted", other, status=2)
    assert "base64 of 32 bytes" in export(place, "verify", *FOLDERS, "--trusted", "", status=2)


@pytest.mark.slow
def test_sign_where_one_of_several_does_not_check_out_signs_none(place: Path) -> None:
    manifest = place / "models" / "face" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": "1.0.0"', '"version": "1.0.1"'))
    said = export(place, "sign", *FOLDERS, "--key", "release.key", status=2)
    assert "models/face/manifest.json was edited" in said
    assert list(place.rglob("signature.json")) == []


@pytest.mark.slow
def test_sign_of_what_has_no_digest_or_is_no_bundle_is_refused(place: Path) -> None:
    write_fusion(place / "models" / "voice+face", has_digest=False)
    said = export(place, "sign", "models/voice+face", "--key", "release.key", status=2)
    assert "states no content digest" in said
    assert "manifest of models cannot be read" in export(place, "sign", "models", "--key", "release.key", status=2)


@pytest.mark.slow
def test_sign_after_an_edit_replaces_the_signature(place: Path) -> None:
    trusted = TrustedKeys.parse(public_key(place))
    export(place, "sign", "models/voice", "--key", "release.key")
    edit_bundle(place / "models" / "voice", lambda manifest: manifest.update(version="1.0.1"))
    assert "of other content" in export(place, "verify", "models/voice", "--trusted", public_key(place), status=2)
    export(place, "sign", "models/voice", "--key", "release.key")
    assert read_bundle(place / "models" / "voice", trusted).manifest.version == "1.0.1"


def test_read_key_of_what_cannot_sign_is_refused_and_says_what_can(tmp_path: Path) -> None:
    plain = NoEncryption()
    elliptic = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, plain)
    locked = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    for content, said in ((b"", "cannot be read"), (locked, "cannot be read"), (elliptic, "is not an Ed25519 key")):
        (tmp_path / "a.key").write_bytes(content)
        with pytest.raises(SigningKeyError, match=said) as refused:
            read_key(tmp_path / "a.key")
        assert "matchka-export keygen" in refused.value.remedy
    with pytest.raises(SigningKeyError, match="cannot be read"):
        read_key(tmp_path / "absent.key")
