"""Keys, and signatures of the bundles and fusions that they vouch for."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from matchka.bundles.bundle import read_bundle
from matchka.bundles.content import refuse_links
from matchka.bundles.fusion_file import FUSION_NAME, read_fusion
from matchka.bundles.manifest import MANIFEST_NAME
from matchka.bundles.signature import NO_KEYS, TrustedKeys, public_key_text, signable_digest
from matchka_export.errors import SigningKeyError

PRIVATE_MODE: Final = 0o600
_MAKE: Final = "Make a pair with `matchka-export keygen NAME`, and sign with --key NAME.key."


@dataclass(frozen=True)
class Sealed:
    """A bundle or a fusion that was read and checked, and that states the digest of its content.

    Attributes: label: its name and version, or the versions that a fusion is of.
    """

    folder: Path
    label: str
    digest: str


def read_sealed(folder: Path, trusted: TrustedKeys = NO_KEYS) -> Sealed:
    """Read and check a bundle or a fusion as the service would.

    Args:
        folder: of either.
        trusted: whose signature it needs.

    Raises: BundleError: it does not check out, states no digest, or lacks a signature that it needs.
    """
    if (folder / FUSION_NAME).is_file() and not (folder / MANIFEST_NAME).exists():
        refuse_links(folder)
        fusion = read_fusion(folder / FUSION_NAME)
        trusted.require_signature(folder, fusion.content_digest)
        label = f"{fusion.name} of {', '.join(' '.join(model) for model in fusion.models.items())}"
        return Sealed(folder, label, signable_digest(folder, fusion.content_digest))
    manifest = read_bundle(folder, trusted).manifest
    return Sealed(folder, f"{manifest.name} {manifest.version}", signable_digest(folder, manifest.content_digest))


def write_key_pair(name: Path) -> tuple[Path, Path]:
    """Make a key and write NAME.key (PEM, PKCS 8, without a passphrase) and NAME.pub (base64 of 32 bytes).

    Args: name: of both files, without their endings.

    Returns: the two files; the first can be read by its owner only.

    Raises: SigningKeyError: one of them is there already, or cannot be written.
    """
    private, public = (Path(f"{name}.{ending}") for ending in ("key", "pub"))
    for path in (private, public):
        if path.exists() or path.is_symlink():
            raise SigningKeyError(
                "The key is there already, and is not overwritten.",
                value=path,
                remedy="Choose another name; what it signed would need new signatures.",
            )
    key = Ed25519PrivateKey.generate()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with os.fdopen(os.open(private, flags, PRIVATE_MODE), "wb") as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        with public.open("x", encoding="ascii") as text:
            text.write(public_key_text(key) + "\n")
    except OSError as error:
        raise SigningKeyError("The key cannot be written.", value=error, remedy="Choose another place.") from error
    return private, public


def read_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key.

    Raises: SigningKeyError: no such file, or not an Ed25519 key in PEM without a passphrase.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SigningKeyError(f"The key {path} cannot be read.", value=error, remedy=_MAKE) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningKeyError(f"The key {path} is not an Ed25519 key.", value=type(key).__name__, remedy=_MAKE)
    return key
