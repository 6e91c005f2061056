"""The one copy of the key store: written anew soon after each change, so that destroyed keys leave it too."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Condition, Thread
from typing import Final

from filelock import FileLock
from sqlalchemy import Engine

from matchka.errors import BackupError, MatchkaError, VaultError
from matchka.runtime.atomic_file import atomic_file
from matchka.store.key_store.tables import KeyBase
from matchka.store.postgres.backup import copy_to_file
from matchka.store.sqlite.backup import copy_database

GATHER_S: Final = 10.0  # changes that one copy is written for; SECURITY.md promises a minute
LOGGER: Final = logging.getLogger("matchka.store")


def write_key_backup(engine: Engine, target: Path) -> None:
    """Copy a key store into a file of SQLite, over the copy that was there.

    Args:
        engine: of the key store.
        target: the copy; its folder is made where it is missing.

    Raises: BackupError: the key store cannot be read, or the copy not be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # by the service and by each command that opens the vault; who comes last copies the latest state
        with FileLock(target.with_name(f".{target.name}.lock")), atomic_file(target) as partial:
            partial.unlink(missing_ok=True)
            _COPIES[engine.dialect.name](engine, partial)
    except OSError as error:
        raise BackupError(
            "The copy of the key store cannot be written.", value=error, remedy="Check its folder and the disk."
        ) from error


def _copy_file(engine: Engine, target: Path) -> None:
    copy_database(Path(str(engine.url.database)), target, _unseen)


def _copy_server(engine: Engine, target: Path) -> None:
    copy_to_file(engine, target, KeyBase.metadata, _unseen)


def _unseen(_done: int, _total: int) -> None:
    """Keys are few and small: nobody waits for their copy."""


_COPIES: Final[Mapping[str, Callable[[Engine, Path], None]]] = {"sqlite": _copy_file, "postgresql": _copy_server}


def require_key_file(file: Path | None) -> None:
    """Refuse to keep a copy up to date of what other services change, too.

    Raises: VaultError: the key store is no file.
    """
    if file is None:
        raise VaultError(
            "A service keeps a copy of its own file only: other services change the keys in a server, too.",
            remedy="Leave MATCHKA_KEY_BACKUP_FILE out, and let a timer run `matchka vault backup FILE` each minute.",
        )


class KeyBackups:
    """Writes the copy in the background, and a last time when it is closed.

    Args:
        engine: of the key store.
        target: the copy.
    """

    def __init__(self, engine: Engine, target: Path) -> None:
        self._engine = engine
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
            write_key_backup(self._engine, self._target)
        except MatchkaError as error:
            LOGGER.error("the copy of the key store is not up to date, and is tried again: %s", error)
            return False
        return True
