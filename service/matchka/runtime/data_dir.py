"""The data folder: one process owns it, and no other user of the machine looks into it."""

import logging
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from matchka.errors import DataDirInUseError, StoreError

LOCK_NAME: Final = "lock"
OWN_RIGHTS: Final = 0o700  # templates are biometric data: nobody else on the machine may read them
LOGGER: Final = logging.getLogger("matchka.runtime.data_dir")


@contextmanager
def owned_data_dir(data_dir: Path) -> Iterator[None]:
    """Make the folder where it is missing, close it to other users, and own it until the end of the block.

    Raises:
        DataDirInUseError: another process owns it.
        StoreError: it cannot be written.
    """
    lock = FileLock(data_dir / LOCK_NAME, timeout=0)
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=OWN_RIGHTS)
        lock.acquire()
    except Timeout as error:
        raise DataDirInUseError(
            "Another process owns the data folder.",
            value=data_dir,
            remedy="Stop it, or set MATCHKA_DATA_DIR to another folder.",
        ) from error
    except OSError as error:
        raise StoreError(
            "The data folder cannot be written.", value=error, remedy="Check MATCHKA_DATA_DIR, its rights and the disk."
        ) from error
    try:
        _close_to_others(data_dir)
        yield
    finally:
        lock.release()


def _close_to_others(data_dir: Path) -> None:
    """Take other users' rights to the folder away; the log says so, and says where that cannot be done."""
    mode = data_dir.stat().st_mode
    if sys.platform == "win32" or not mode & (stat.S_IRWXG | stat.S_IRWXO):
        return
    found = f"{stat.S_IMODE(mode):04o}"
    if mode & stat.S_ISVTX:  # /tmp and its like: it was never this service's alone
        LOGGER.warning(
            "the data folder %s is everybody's (rights %s); set MATCHKA_DATA_DIR to another", data_dir, found
        )
        return
    try:
        data_dir.chmod(OWN_RIGHTS)
    except OSError as error:
        LOGGER.warning("other users can look into the data folder %s (rights %s): %s", data_dir, found, error.strerror)
    else:
        LOGGER.warning("the data folder %s was open to other users (rights %s) and is closed now", data_dir, found)


def is_owned(data_dir: Path) -> bool:
    """Whether a process owns the folder right now: a service runs on it, or a command changes it."""
    if not (data_dir / LOCK_NAME).is_file():
        return False
    try:
        with owned_data_dir(data_dir):
            return False
    except DataDirInUseError:
        return True
