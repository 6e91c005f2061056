"""The data folder: one process owns it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from service.errors import DataDirInUseError, StoreError

LOCK_NAME: Final = "lock"


@contextmanager
def owned_data_dir(data_dir: Path) -> Iterator[None]:
    """Make the folder where it is missing, and own it until the end of the block.

    Raises:
        DataDirInUseError: another process owns it.
        StoreError: it cannot be written.
    """
    lock = FileLock(data_dir / LOCK_NAME, timeout=0)
    try:
        # templates are biometric data: nobody else on the machine may read them
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
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
        yield
    finally:
        lock.release()


def is_owned(data_dir: Path) -> bool:
    """Whether a process owns the folder right now: a service runs on it, or a command changes it."""
    if not (data_dir / LOCK_NAME).is_file():
        return False
    try:
        with owned_data_dir(data_dir):
            return False
    except DataDirInUseError:
        return True
