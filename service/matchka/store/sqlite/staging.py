"""Where a restore unpacks: beside the database, in a folder that a process that is killed leaves to the next one."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Final

from matchka.settings import Settings
from matchka.store.engine import file_of

DATABASE_NAME: Final = "matchka.sqlite"


def restored_file(settings: Settings) -> Path:
    """The file of a restored store, or where it would be, were it not put into a server: it is unpacked beside it."""
    return file_of(settings.effective_database_url) or settings.data_dir / DATABASE_NAME


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
