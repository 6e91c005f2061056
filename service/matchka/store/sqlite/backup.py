"""Backups of a store in an SQLite file: one consistent state, copied while others read and write."""

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from matchka.errors import BackupError, StoreError
from matchka.store.engine import reading
from matchka.store.migrations.migrate import version_of_tables
from matchka.store.schema import SCHEMA_VERSION, ChallengeRow, EnrolmentAnswerRow, IdempotencyKeyRow
from matchka.store.sqlite.staging import DATABASE_NAME
from matchka.store.statistics import StoreStatistics, statistics_of
from matchka.store.transfer.archive import Advance, ArchiveManifest, new_archive

MANIFEST_NAME: Final = "backup.json"
PAGES_AT_ONCE: Final = 2_000  # 8 MB: often enough for a progress bar
BUSY_S: Final = 10.0  # for another connection's lock
SEPARATORS: Final = tuple(filter(None, (os.sep, os.altsep)))
SUFFIX: Final = ".matchka-backup"


class BackupManifest(ArchiveManifest):
    """backup.json.

    Attributes:
        format: of the archive.
        created_at: when the state was read.
        schema_version: of the tables.
        identity: of the store that was copied.
        subjects, templates, references, deletions: rows.
        models: "name version" -> templates.
    """

    format: Literal["matchka-backup-1"]
    created_at: datetime
    schema_version: int
    identity: str
    subjects: int
    templates: int
    references: int
    deletions: int
    models: dict[str, int]


def default_name(now: datetime) -> str:
    """The name of a backup in a folder.

    >>> default_name(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    'matchka-20260102T030405Z.matchka-backup'
    """
    return f"matchka-{now:%Y%m%dT%H%M%SZ}{SUFFIX}"


def backup_file(target: str, now: datetime) -> Path:
    """The file to write: the target itself, or one that is named by the time in a folder.

    A folder is what exists as one, or is written with a slash at its end; such a one is made where it is missing.

    Raises: BackupError: the folder cannot be made.
    """
    folder = Path(target)
    if not folder.is_dir():
        if not target.endswith(SEPARATORS):
            return folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BackupError(
                "The folder of backups cannot be made.", value=target, remedy=f"Name another one ({error.strerror})."
            ) from error
    return folder / default_name(now)


def write_backup(database: Path, target: Path, advance: Advance) -> BackupManifest:
    """Copy a store into an archive; a service may serve from it meanwhile.

    Everything is read in one transaction, so the copy is the state at one moment. Until it ends, what is deleted
    meanwhile leaves the answers, but not SQLite's write-ahead log.

    Args:
        database: the SQLite file.
        target: the archive; it appears when it is whole.
        advance: called with bytes done, of how many.

    Raises:
        StoreError: there is no store in the file, or one of another program version.
        BackupError: the archive cannot be written, or the file is damaged.
    """
    return archive_copy(lambda copy: copy_database(database, copy, advance), target, advance)


def archive_copy(make_copy: Callable[[Path], None], target: Path, advance: Advance) -> BackupManifest:
    """Write an archive of one file of SQLite.

    Args:
        make_copy: writes a copy of a store, of one moment, into the file that it is given.
        target: the archive; it appears when it is whole.
        advance: called with bytes done, of how many.
    """
    with new_archive(target) as (writer, staging):
        copy = staging / DATABASE_NAME
        created_at = datetime.now(UTC)
        make_copy(copy)
        statistics = _statistics_of_file(copy)
        _forget_requests(copy)
        writer.add_file(DATABASE_NAME, copy, advance)
        manifest = BackupManifest(
            format="matchka-backup-1",
            created_at=created_at,
            schema_version=SCHEMA_VERSION,
            identity=statistics.identity,
            subjects=statistics.subjects,
            templates=statistics.templates,
            references=statistics.references,
            deletions=statistics.deletions,
            models=_templates_by_version(statistics),
            members=writer.members,
        )
        writer.finish(MANIFEST_NAME, manifest)
    return manifest


def is_there(database: Path) -> bool:
    """Whether the file of a store is there.

    Raises: StoreError: nobody may tell: its folder is closed to this user.
    """
    try:
        return stat.S_ISREG(database.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StoreError(
            "The data folder cannot be read.",
            value=database.parent,
            remedy=f"Run the command as the service's user ({error.strerror}).",
        ) from error


def require_file(database: Path) -> Path:
    """The file of a store.

    Raises: StoreError: it is not there, or its folder is closed to this user.
    """
    if not is_there(database):
        raise StoreError(
            "There is no database.", value=database, remedy="Set MATCHKA_DATA_DIR to the service's folder."
        )
    return database


def copy_database(source: Path, target: Path, advance: Advance) -> None:
    """Copy a database that others may write to, in one read transaction, into one file that needs no log beside it.

    Raises: BackupError: the source cannot be read or the target cannot be written.
    """
    require_file(source)
    page_bytes = 1

    def report(_status: int, remaining: int, total: int) -> None:
        advance((total - remaining) * page_bytes, total * page_bytes)

    try:
        url = f"file:{quote(str(source))}?mode=rw"  # a file that is not there is not made
        with (
            closing(sqlite3.connect(url, uri=True, isolation_level=None, timeout=BUSY_S)) as connection,
            closing(sqlite3.connect(target)) as copy,
        ):
            connection.execute("BEGIN")
            # the first read fixes the state; without it the copy would begin again whenever somebody writes
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
            connection.backup(copy, pages=PAGES_AT_ONCE, progress=report, sleep=0)
            connection.execute("COMMIT")
            copy.execute("PRAGMA journal_mode=DELETE")
            (sound,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise BackupError(
            "The database cannot be copied.",
            value=error,
            remedy="Try `matchka gallery verify`; check the disk's space.",
        ) from error
    if sound != "ok":
        raise BackupError(
            "The database is damaged.", value=sound, remedy="Restore the last backup that `restore` accepts."
        )


def _statistics_of_file(database: Path) -> StoreStatistics:
    engine = create_engine(f"sqlite:///{database}")
    try:
        found = version_of_tables(engine)
        if found != SCHEMA_VERSION:
            raise StoreError(
                f"The database has tables of version {found}; this program needs {SCHEMA_VERSION}.",
                value=database,
                remedy="Start this program's service on it once, which brings older tables up to date.",
            )
        with reading(engine) as session:
            return statistics_of(session)
    except SQLAlchemyError as error:
        raise StoreError("This is no database of matchka.", value=error, remedy="Check the path.") from error
    finally:
        engine.dispose()


def _forget_requests(copy: Path) -> None:
    """Remove what subjects were asked, and its bytes: whoever reads a backup could answer in their place.

    Answers that are kept for a day for whoever asks again go as well: a backup is for longer.
    """
    try:
        with closing(sqlite3.connect(copy)) as connection, connection:
            connection.execute("PRAGMA secure_delete=ON")
            for table in (ChallengeRow, EnrolmentAnswerRow, IdempotencyKeyRow):
                connection.execute(f"DELETE FROM {table.__tablename__}")  # noqa: S608 - a constant
    except sqlite3.Error as error:
        raise BackupError("The copy cannot be written.", value=error, remedy="Check the disk's space.") from error


def _templates_by_version(statistics: StoreStatistics) -> dict[str, int]:
    found: dict[str, int] = {}
    for holding in statistics.holdings:
        name = f"{holding.model} {holding.version}"
        found[name] = found.get(name, 0) + holding.templates
    return found
