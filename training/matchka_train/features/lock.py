"""One command at a time fills a folder of a cache."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_log = logging.getLogger(__name__)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Two commands that fill one folder come one after the other; the second uses what the first computed.

    Args: folder: need not be there; the lock lies beside it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.warning("waiting for another command that fills %s", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
