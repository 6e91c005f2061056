"""Backups of a store, whatever database it lies in: one kind of archive, which restores into any."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matchka.store.engine import backend_of, file_of
from matchka.store.postgres.backup import require_server_store, write_server_backup
from matchka.store.postgres.restore import restore_into_server
from matchka.store.sqlite.backup import BackupManifest, require_file, write_backup
from matchka.store.sqlite.restore import RestorePlan, RestoreReport, restore
from matchka.store.transfer.archive import Advance


@dataclass(frozen=True)
class Backups:
    """How a kind of database is copied and replaced.

    Attributes:
        require: URL: refuses where there is no store to be copied.
        write: URL, archive, progress -> what was written: one consistent state, while services serve or not.
        restore: URL, plan, progress of copying, progress of checking -> what came of it; nothing serves meanwhile.
    """

    require: Callable[[str], object]
    write: Callable[[str, Path, Advance], BackupManifest]
    restore: Callable[[str, RestorePlan, Advance, Advance], RestoreReport]


def backups_of(url: str) -> Backups:
    """Those of the database that a URL names.

    Raises: StoreError: it names none.
    """
    return _BACKUPS[backend_of(url)]


def _require_file(url: str) -> Path:
    return require_file(Path(str(file_of(url))))


def _write_file(url: str, target: Path, advance: Advance) -> BackupManifest:
    return write_backup(_require_file(url), target, advance)


def _restore_file(_url: str, plan: RestorePlan, advance: Advance, progress: Advance) -> RestoreReport:
    return restore(plan, advance, progress)


_BACKUPS: Final[Mapping[str, Backups]] = {
    "sqlite": Backups(_require_file, _write_file, _restore_file),
    "postgresql": Backups(require_server_store, write_server_backup, restore_into_server),
}
