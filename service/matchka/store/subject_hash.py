"""Keyed hashes of subject ids: what keeps a trace of people who may be gone tells nobody who they were.

The key is never in the templates' database, so that neither a copy of that nor an export reveals whom a hash names to
somebody who tries all names. Where there is a vault it is in the key store, wrapped by the master key; else it is in a
file of the data folder that nobody else may read.
"""

import hmac
import logging
import os
import secrets
import stat
from functools import cached_property
from pathlib import Path
from typing import Final

from filelock import FileLock

from matchka.errors import StoreError
from matchka.runtime.atomic_file import write_atomically
from matchka.store.vault.vault import Vault

KEY_BYTES: Final = 32
NAME_DIGITS: Final = 16
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
ALONE: Final = (
    "Other services on this database would have keys of their own, and know neither enrolments that are sent again nor "
    "whom a restore must not bring back. Give all of them one file by MATCHKA_SUBJECT_HASH_KEY_FILE, or a vault"
)
LOGGER: Final = logging.getLogger("matchka.store")


class SubjectHasher:
    """Hashes subject ids with a key, and derives other keys from it.

    Args: key: 32 random bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._subject_key = self.derive("subject-hash-1")

    @cached_property
    def name(self) -> str:
        """Which key it is, telling nothing of it: 16 hexadecimal digits."""
        return self.derive("name-1").hex()[:NAME_DIGITS]

    def hash_of(self, tenant: str, subject_id: str) -> str:
        """HMAC-SHA256 of a subject's tenant and id, 64 hexadecimal digits; of two tenants, one id has two hashes.

        >>> hasher = SubjectHasher(bytes(32))
        >>> len(hasher.hash_of("a", "eva")), hasher.hash_of("a", "eva") == hasher.hash_of("b", "eva")
        (64, False)
        """
        whose = tenant.encode()
        message = len(whose).to_bytes(2) + whose + subject_id.encode()
        return hmac.digest(self._subject_key, message, "sha256").hex()

    def derive(self, purpose: str) -> bytes:
        """Another key of 32 bytes, of which none tells anything of the others."""
        return hmac.digest(self._key, b"matchka-" + purpose.encode(), "sha256")


def read_hasher(vault: Vault, file: Path, *, is_alone: bool = True) -> SubjectHasher:
    """The hasher of a store; its key is made where there is none. It needs no service that runs.

    Args:
        vault: of the store. A key that was in the file before there was a vault goes over to the key store.
        file: where the key is kept while there is no vault (Settings.subject_hash_key).
        is_alone: whether nobody else writes the store, or all that do are known to have the same file.

    Raises:
        VaultLockedError: the vault is locked.
        StoreError: the key cannot be read or made.
    """
    try:
        found = _read(file) if file.exists() else None
        key = vault.hash_key(found)
        if key is not None:
            _forget(file, found, key)
            return SubjectHasher(key)
        if not is_alone:
            LOGGER.warning("%s is of this data folder alone. %s", file, ALONE)
        return SubjectHasher(found or _create(file))
    except OSError as error:
        raise StoreError(
            "The key of the hashes of subject ids cannot be read or written.",
            value=error,
            remedy="Check its rights and the disk; it belongs to the service's user.",
        ) from error


def known_hasher(vault: Vault, file: Path) -> SubjectHasher | None:
    """The hasher of a store whose key was made before; None where this user finds none. See read_hasher."""
    is_known = vault.identity is not None or os.path.exists(file)  # noqa: PTH110 - a folder that is closed has none
    return read_hasher(vault, file) if is_known else None


def _read(file: Path) -> bytes:
    if os.name == "posix" and stat.S_IMODE(file.stat().st_mode) & OTHERS:
        LOGGER.warning("other users may read %s, the key of the hashes of subject ids: take their rights away", file)
    try:
        key = bytes.fromhex(file.read_text("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise StoreError(
            f"The key of the hashes of subject ids is {2 * KEY_BYTES} hexadecimal digits; the file holds something "
            "else.",
            value=file,
            remedy="Put its copy back; without one, remove the file: then nothing tells whom older hashes name.",
        )
    return key


def _create(file: Path) -> bytes:
    """Make a key, unless another process is faster."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=stat.S_IRWXU)
    before = os.umask(OTHERS)
    try:
        with FileLock(file.with_name(f".{file.name}.lock")):
            if file.exists():
                return _read(file)
            key = secrets.token_bytes(KEY_BYTES)
            write_atomically(file, key.hex().encode() + b"\n")
    finally:
        os.umask(before)
    LOGGER.info("made a key of the hashes of subject ids: %s", file)
    return key


def _forget(file: Path, found: bytes | None, kept: bytes) -> None:
    """Remove a key in clear that the key store has now."""
    if found == kept:
        file.unlink()
    elif found is not None:
        LOGGER.warning("%s is not the key of the hashes of subject ids that the key store has, and is not used", file)
