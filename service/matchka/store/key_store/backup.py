"""The one copy of the key store: written anew soon after each change, so that destroyed keys leave it too."""

import logging
from pathlib import Path
from threading import Condition, Thread
from typing import Final

from filelock import FileLock

from matchka.errors import BackupError, MatchkaError, VaultError
from matchka.runtime.atomic_file import atomic_file
from matchka.store.sqlite.backup import copy_database

GATHER_S: Final = 10.0  # changes that one copy is written for; SECURITY.md promises a minute
LOGGER: Final = logging.getLogger("matchka.store")


def write_key_backup(file: Path | None, target: Path) -> None:
    """Copy a key store in an SQLite file over the copy that was there.

    Args:
        file: of the key store; None where it is in another database.
        target: the copy; its folder is made where it is missing.

    Raises:
        VaultError: the key store is in another database.
        BackupError: the copy cannot be written.
    """
    source = require_key_file(file)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # by the service and by each command that opens the vault; who comes last copies the latest state
        with FileLock(target.with_name(f".{target.name}.lock")), atomic_file(target) as partial:
            partial.unlink(missing_ok=True)
            copy_database(source, partial, lambda _done, _total: None)
    except OSError as error:
        raise BackupError(
            "The copy of the key store cannot be written.", value=error, remedy="Check its folder and the disk."
        ) from error


def require_key_file(file: Path | None) -> Path:
    """The file of a key store.

    Raises: VaultError: it is in another database.
    """
    if file is None:
        raise VaultError(
            "Copies of the key store are of SQLite files.",
            remedy="Use that database's own dumps, one at a time, and keep no older one.",
        )
    return file


class KeyBackups:
    """Writes the copy in the background, and a last time when it is closed.

    Args:
        file: of the key store.
        target: the copy.
    """

    def __init__(self, file: Path, target: Path) -> None:
        self._file = file
        self._target = target
        self._changed = Condition()
        self._is_due = True  # a process that was killed may have owed one
        self._is_closing = False
        self._thread = Thread(target=self._run, name="key-backup", daemon=True)
        self._thread.start()

    def request(self) -> None:
        """The key store has changed."""
        with self._changed:
            self._is_due = True
            self._changed.notify_all()

    def close(self) -> None:
        """Write what is due, and stop."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_due or self._is_closing)
                self._changed.wait_for(lambda: self._is_closing, GATHER_S)
                is_due, is_last, self._is_due = self._is_due, self._is_closing, False
            if is_due and not self._is_written():
                self.request()
            if is_last:
                return

    def _is_written(self) -> bool:
        try:
            write_key_backup(self._file, self._target)
        except MatchkaError as error:
            LOGGER.error("the copy of the key store is not up to date, and is tried again: %s", error)
            return False
        return True
