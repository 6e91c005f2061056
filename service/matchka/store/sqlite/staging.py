"""Where a restore unpacks: beside the database, in a folder that a process that is killed leaves to the next one."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path


@contextmanager
def staging_folder(database: Path) -> Iterator[Path]:
    """A folder on the database's disk, removed at the end of the block; the caller owns the data folder."""
    remove_unfinished_restores(database)
    folder = Path(tempfile.mkdtemp(prefix=_prefix(database), dir=database.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_unfinished_restores(database: Path) -> None:
    """Remove what restores that were killed have unpacked: it may be all templates in clear.

    Args: database: whose data folder the caller owns, so that no restore is under way.
    """
    for folder in database.parent.glob(f"{escape(_prefix(database))}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _prefix(database: Path) -> str:
    return f".restoring-{database.name}-"
