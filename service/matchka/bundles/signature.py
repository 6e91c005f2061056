"""Who vouches for a bundle: an Ed25519 signature of its content digest, in a file beside it (RFC 8032)."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict

from matchka.errors import BundleError, SettingsError
from matchka.runtime.atomic_file import write_atomically

SIGNATURE_NAME: Final = "signature.json"
PURPOSE: Final = b"matchka-bundle-1\n"  # so that a signature made for something else is never one of a bundle
PUBLIC_KEY_BYTES: Final = 32
_SIGN_AGAIN: Final = "Sign it with `matchka-export sign`; without MATCHKA_TRUSTED_BUNDLE_KEYS unsigned ones are served."


class Signature(BaseModel):
    """signature.json.

    Attributes:
        format: of this file.
        content_digest: what was signed.
        public_key: of whom, base64 of 32 bytes.
        signature: base64 of 64 bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["matchka-signature-1"] = "matchka-signature-1"
    content_digest: str
    public_key: str
    signature: str


@dataclass(frozen=True)
class TrustedKeys:
    """Public keys whose signature a bundle needs; without any, no bundle needs one. Attributes: keys: 32 bytes each."""

    keys: tuple[bytes, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "TrustedKeys":
        """Keys in base64, separated by commas or spaces; an empty text has none.

        Raises: SettingsError: one is not base64 of 32 bytes.

        >>> TrustedKeys.parse("")
        TrustedKeys(keys=())
        """
        words = text.replace(",", " ").split()
        # a text of separators only would otherwise trust everybody, unlike what it was set for
        return cls(tuple(_public_key_of(word) for word in words or ([text] if text else [])))

    def require_signature(self, folder: Path, digest: str | None) -> None:
        """Refuse a folder that nobody of these has signed.

        Args:
            folder: of a bundle or a fusion.
            digest: of its content, as it lies there; None if it states none.

        Raises: BundleError: no digest, no signature, one of other content, of an unknown key, or a false one.
        """
        if not self.keys:
            return
        digest = signable_digest(folder, digest)
        signed = read_signature(folder)
        if signed.content_digest != digest:
            raise BundleError(
                f"The signature of {folder} is of other content.", value=signed.content_digest, remedy=_SIGN_AGAIN
            )
        key = base64.b64decode(signed.public_key)
        if key not in self.keys:
            raise BundleError(
                f"{folder} is signed by a key that is not among MATCHKA_TRUSTED_BUNDLE_KEYS.",
                value=signed.public_key,
                remedy="Trust that key if you know whose it is, or serve another bundle.",
            )
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(
                base64.b64decode(signed.signature), PURPOSE + digest.encode()
            )
        except (InvalidSignature, ValueError) as error:
            raise BundleError(
                f"The signature of {folder} is false.", value=signed.signature, remedy=_SIGN_AGAIN
            ) from error


NO_KEYS: Final = TrustedKeys()  # nothing needs a signature


def signable_digest(folder: Path, digest: str | None) -> str:
    """The digest that a folder states.

    Raises: BundleError: it is of a format that had none, so nobody can vouch for it.
    """
    if digest is None:
        raise BundleError(
            f"{folder} states no content digest, so that nobody can sign it.",
            remedy="Build it again: `matchka-export defaults` or `matchka-export run`; its version stays.",
        )
    return digest


def sign(folder: Path, digest: str, key: Ed25519PrivateKey) -> Signature:
    """Sign a content digest, and write signature.json into the folder.

    Args:
        folder: of a bundle or a fusion.
        digest: of its content, as it was checked by the caller.
        key: the private key.

    Raises: BundleError: it cannot be written.
    """
    signed = Signature(
        content_digest=digest,
        public_key=public_key_text(key),
        signature=base64.b64encode(key.sign(PURPOSE + digest.encode())).decode(),
    )
    try:
        write_atomically(folder / SIGNATURE_NAME, (signed.model_dump_json(indent=2) + "\n").encode())
    except OSError as error:
        raise BundleError(
            f"The signature of {folder} cannot be written.", value=error, remedy="Sign a copy that you may write to."
        ) from error
    return signed


def read_signature(folder: Path) -> Signature:
    """Read signature.json.

    Raises: BundleError: there is none, or it is not one.
    """
    path = folder / SIGNATURE_NAME
    try:
        signed = Signature.model_validate_json(path.read_text(encoding="utf-8"))
        base64.b64decode(signed.public_key, validate=True)
        base64.b64decode(signed.signature, validate=True)
    except (OSError, ValueError) as error:
        raise BundleError(f"{folder} has no signature that can be read.", value=error, remedy=_SIGN_AGAIN) from error
    return signed


def public_key_text(key: Ed25519PrivateKey) -> str:
    """The public half of a key, as MATCHKA_TRUSTED_BUNDLE_KEYS takes it: base64 of 32 bytes."""
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def _public_key_of(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error, or a letter that is not ASCII
        key = b""
    if len(key) != PUBLIC_KEY_BYTES:
        raise SettingsError(
            "A trusted key (MATCHKA_TRUSTED_BUNDLE_KEYS) is base64 of 32 bytes.",
            value=text,
            remedy="Take it from the file that `matchka-export keygen` wrote (NAME.pub).",
        )
    return key
