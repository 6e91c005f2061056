"""Atomic writes: a file appears under its name only when all of its bytes are on the disk."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Another name to write a file under; it gets its own when the block ends, and vanishes if the block fails.

    Args: path: the file, replaced if present; its folder is made if absent.

    Raises: OSError: it cannot be written; what was at `path` before is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        put_in_place(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file atomically; its folder is made if absent.

    Raises: OSError: it cannot be written; what was at `path` before is still there.
    """
    with atomic_file(path) as partial:
        partial.write_bytes(content)


def put_in_place(partial: Path, target: Path) -> None:
    """Rename a finished file to its target, both flushed to the disk first.

    Raises: OSError: the disk does not take it.
    """
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.replace(target)
    if os.name != "posix":
        return  # a folder cannot be opened there, nor flushed
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
