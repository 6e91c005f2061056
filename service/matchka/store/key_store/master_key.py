"""The master key: read from a file that nobody else may read, or from what a command prints; or made new."""

import hmac
import os
import secrets
import shlex
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from matchka.errors import VaultError, VaultLockedError
from matchka.runtime.atomic_file import write_atomically

KEY_BYTES: Final = 32  # AES-256
COMMAND_TIMEOUT_S: Final = 30
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
ROOT: Final = 0
NEW_KEY: Final = "`matchka vault create-key FILE` makes one."


@dataclass(frozen=True)
class MasterKey:
    """A key of 32 bytes, and its name, which tells nothing of it: 16 hexadecimal digits."""

    secret: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """The name under which the key store keeps what this key wraps."""
        return hmac.digest(self.secret, b"matchka-master-key-name-1", "sha256").hex()[:16]


@dataclass(frozen=True)
class MasterKeySource:
    """Where the master key comes from: a file, or a command that prints it; nowhere where templates stay in clear."""

    file: Path | None = None
    command: str | None = None

    @property
    def is_set(self) -> bool:
        """Whether there is to be a master key."""
        return self.file is not None or self.command is not None

    def read(self) -> MasterKey:
        """Read the key, again each time: it may have been replaced.

        Raises: VaultLockedError: it is not there, open to other users, or no key.
        """
        if self.file is not None:
            return _parse(_read_file(self.file), str(self.file))
        if self.command is not None:
            return _parse(_output_of(self.command), "the output of MATCHKA_MASTER_KEY_COMMAND")
        raise VaultLockedError("There is no master key.", remedy="Set MATCHKA_MASTER_KEY_FILE.")


def create_key_file(path: Path) -> MasterKey:
    """Make a new master key in a file of its own user.

    Raises: VaultError: there is such a file, or it cannot be written.
    """
    if path.exists():
        raise VaultError("There is a file of this name.", value=path, remedy="Choose another name.")
    key = MasterKey(secrets.token_bytes(KEY_BYTES))
    before = os.umask(0o077)
    try:
        write_atomically(path, key.secret.hex().encode() + b"\n")
    except OSError as error:
        raise VaultError("The key cannot be written.", value=error, remedy="Check the folder and the disk.") from error
    finally:
        os.umask(before)
    return key


def _read_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            _require_private(path, os.fstat(file.fileno()))
            return file.read(4096).decode("ascii", "replace")
    except OSError as error:
        raise VaultLockedError(
            f"The master key cannot be read: {error.strerror}.",
            value=path,
            remedy="Set MATCHKA_MASTER_KEY_FILE to the key that the templates were encrypted with, or put it back.",
        ) from error


def _require_private(path: Path, found: os.stat_result) -> None:
    """Refuse a key that other users may read; one that belongs to root may be read by the service's group."""
    if sys.platform == "win32":
        return
    if found.st_uid not in (os.geteuid(), ROOT):
        raise VaultLockedError(
            "The master key belongs to another user.",
            value=f"user {found.st_uid}, {path}",
            remedy="Give it to the service's user with `chown`, and make a new key if anybody may have read it.",
        )
    # an orchestrator's secrets belong to root, and a service without rights reads them by its group
    forbidden = OTHERS if found.st_uid == os.geteuid() else OTHERS & ~stat.S_IRGRP
    if found.st_mode & forbidden:
        raise VaultLockedError(
            "Other users may read or write the master key.",
            value=f"rights {stat.S_IMODE(found.st_mode):04o}, {path}",
            remedy="Take their rights away with `chmod 600`, and make a new key if anybody may have read it.",
        )


def _output_of(command: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own command, without a shell
            shlex.split(command), capture_output=True, timeout=COMMAND_TIMEOUT_S, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        # its output may be the key: only what kind of failure it was is shown
        raise VaultLockedError(
            "The command that prints the master key failed.",
            value=type(error).__name__,
            remedy="Try MATCHKA_MASTER_KEY_COMMAND by hand, as the service's user.",
        ) from error
    return done.stdout.decode("ascii", "replace")


def _parse(text: str, source: str) -> MasterKey:
    try:
        secret = bytes.fromhex(text.strip())
    except ValueError:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise VaultLockedError(
            f"A master key is {2 * KEY_BYTES} hexadecimal digits; what there is, is not.", value=source, remedy=NEW_KEY
        )
    return MasterKey(secret)
