"""Restoring a backup: fully checked, without what was deleted since, replaced atomically."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, delete
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from matchka.errors import BackupError, RestoreRefusedError
from matchka.runtime.atomic_file import put_in_place
from matchka.store.audit.log import AuditLog
from matchka.store.audit.records import Outcome
from matchka.store.challenges import forget_challenges
from matchka.store.deletions import (
    Deletion,
    forget_deletions,
    living_deletions,
    merge_deletions,
    raise_horizon,
    remove_templates,
    require_younger,
)
from matchka.store.engine import open_engine, reading
from matchka.store.feed.feed import forget_feed
from matchka.store.integrity.check import IntegrityProblem, check_store
from matchka.store.keys.copies import keys_in, replace_keys
from matchka.store.migrations.migrate import bring_up_to_date
from matchka.store.rights.expiries import Expiry, keep_expiries
from matchka.store.schema import IdentityRow, SubjectRow
from matchka.store.sqlite.audit_copy import keep_log
from matchka.store.sqlite.backup import MANIFEST_NAME, BackupManifest
from matchka.store.sqlite.staging import DATABASE_NAME, staging_folder
from matchka.store.statistics import StoreStatistics, statistics_of
from matchka.store.transfer.archive import Advance, copy_member, opened_archive
from matchka.store.transfer.left_behind import LeftBehind, finish_erasures_of, left_behind
from matchka.store.vault.encryption import encrypt_copy
from matchka.store.vault.subject_keys import (
    drop_unreadable,
    require_keys,
    subjects_without_key,
)
from matchka.store.vault.vault import CLEAR, Vault

FINDINGS_SHOWN: Final = 3


@dataclass(frozen=True)
class RestorePlan:
    """What to restore, and how.

    Attributes:
        archive: the backup.
        database: the SQLite file to make or replace; where the store is in a server, where its file would be.
        replace: whether a store that is there may be replaced.
        resurrect: whether templates come back that were deleted after the backup.
        deletions: of other deletion logs, to be respected besides that of the store that is replaced.
        has_deletions_file: whether such a deletion log was given at all.
        vault: of the store: what a backup holds in clear is encrypted, and who has no key any more stays out.
        horizon: up to when deletions may be missing in these logs because of their age.
        is_audited: whether the audit log records it.
        expiries: of a store in a server that is replaced.
    """

    archive: Path
    database: Path
    replace: bool = False
    resurrect: bool = False
    deletions: tuple[Deletion, ...] = ()
    has_deletions_file: bool = False
    vault: Vault = CLEAR
    horizon: datetime | None = None
    is_audited: bool = False
    expiries: tuple[Expiry, ...] = ()

    @property
    def may_lose_deletions(self) -> bool:
        """Whether somebody answers for what the log of the store that is replaced does not tell."""
        return self.resurrect or self.has_deletions_file


@dataclass(frozen=True)
class RestoreReport:
    """What the restored store holds.

    Attributes:
        kept_out: templates deleted since the backup.
        brought_back: those that were revived.
        old_keys: API keys that are those of the backup, where no store that was replaced has newer ones.
        unreadable: subjects left out because their keys were destroyed when they were deleted.
    """

    manifest: BackupManifest
    statistics: StoreStatistics
    kept_out: int
    brought_back: int
    old_keys: int
    unreadable: int


def restore(plan: RestorePlan, advance: Advance, progress: Advance) -> RestoreReport:
    """Restore a backup; the caller owns the data folder. Nothing is changed unless everything checks out.

    Args:
        plan: what and how.
        advance: called with the bytes copied, of how many.
        progress: called with the templates checked, of how many.

    Raises:
        BackupError: the backup does not check out.
        RestoreRefusedError: a store is there and may not be replaced, or its deletion log cannot be read, or is younger
            than the backup.
        StoreError: the backup is of a newer program.
        VaultLockedError: the backup is encrypted, and the vault has none of its keys; or keys of the store that is
            replaced are still to be destroyed in another key store.
    """
    if plan.database.exists() and not plan.replace:
        raise RestoreRefusedError(
            "There is a store already.", value=plan.database, remedy="Say --replace, or restore to another data folder."
        )
    left = LeftBehind()
    if plan.database.exists():
        url = f"sqlite:///{plan.database}"
        left = left_behind(url, may_lose_deletions=plan.may_lose_deletions)
        finish_erasures_of(url, plan.vault)
    deletions = [*plan.deletions, *left.deletions]
    horizon = left.horizon or plan.horizon
    try:
        with staging_folder(plan.database) as staging:
            staged = staging / DATABASE_NAME
            with opened_archive(plan.archive, MANIFEST_NAME, BackupManifest) as (archive, manifest):
                if not plan.may_lose_deletions:
                    require_younger(manifest.created_at, horizon)
                if set(manifest.members) != {DATABASE_NAME}:
                    raise BackupError(
                        "The backup names files of another kind.",
                        value=sorted(manifest.members),
                        remedy="Name a backup.",
                    )
                with staged.open("xb") as file:
                    copy_member(archive, DATABASE_NAME, manifest.members[DATABASE_NAME], file, advance)
            engine = open_engine(f"sqlite:///{staged}")
            try:
                report = _prepare(engine, manifest, deletions, horizon, left, plan, progress)
            finally:
                engine.dispose()  # the last connection: its log is emptied and gone
            is_replaced = plan.database.exists()
            _replace(staged, plan.database)
            if is_replaced:  # nothing in clear is left; to another folder, the store that is served stays as it is
                plan.vault.accept_only_sealed()
    except OSError as error:
        raise BackupError("The backup cannot be unpacked.", value=error, remedy="Check the disk's space.") from error
    return report


def restored_from(manifest: BackupManifest, *, is_log_kept: bool) -> str:
    """What the audit log says of a restore."""
    whose = "of the store before" if is_log_kept else "of the backup"
    return f"backup of {manifest.created_at:%Y-%m-%dT%H:%M:%SZ}, store {manifest.identity}; log {whose}"


def _prepare(
    engine: Engine,
    manifest: BackupManifest,
    deletions: Iterable[Deletion],
    horizon: datetime | None,
    left: LeftBehind,
    plan: RestorePlan,
    progress: Advance,
) -> RestoreReport:
    """Check the unpacked database, bring it up to date, and apply the deletion logs."""
    try:
        bring_up_to_date(engine)
        with reading(engine) as session:
            found = statistics_of(session)
        require_keys(engine, plan.vault)
        opened = plan.vault.opened()
        if opened is not None:
            encrypt_copy(engine, opened, progress)
        unreadable = _leave_out_unreadable(engine, plan.vault)
        with reading(engine) as session:
            _require_sound(check_store(session, progress, plan.vault).findings)
        _require_as_named(found, manifest)
        engine.dispose()  # its connections would keep the tables that are replaced
        is_log_kept = keep_log(Path(str(engine.url.database)), plan.database)
        with Session(engine) as session, session.begin():
            merge_deletions(session, deletions)
            raise_horizon(session, horizon)
            living = living_deletions(session)
            if plan.resurrect:
                forget_deletions(session, living)
            else:
                remove_templates(session, living, plan.vault)
            keep_expiries(session, (*plan.expiries, *left.expiries))
            # whatever was derived from the store that was copied, a snapshot of an index say, is not of this one
            forget_challenges(session)
            forget_feed(session)
            old_keys = 0
            if left.keys is not None and left.keys.keys:
                replace_keys(session, left.keys)
            else:  # a store that never had any is not to open this one to everybody
                old_keys = len(keys_in(session).keys)
            session.execute(delete(IdentityRow))
            session.add(IdentityRow())
            what = restored_from(manifest, is_log_kept=is_log_kept)
            AuditLog(engine, is_on=plan.is_audited).note(session, Outcome.RESTORED, detail=what)
        with reading(engine) as session:
            statistics = statistics_of(session)
    except SQLAlchemyError as error:
        raise BackupError("The backup's database cannot be read.", value=error, remedy="Use another backup.") from error
    revived, dropped = (len(living), 0) if plan.resurrect else (0, len(living))
    return RestoreReport(manifest, statistics, dropped, revived, old_keys, unreadable)


def _leave_out_unreadable(engine: Engine, vault: Vault) -> int:
    """Delete subjects whose keys were destroyed, and note it.

    Returns: how many.
    """
    with Session(engine) as session, session.begin():
        keys = subjects_without_key(session, vault)
        for key in keys:
            subject = session.get_one(SubjectRow, key)
            drop_unreadable(session, subject)
            session.delete(subject)
    return len(keys)


def _require_sound(findings: tuple[IntegrityProblem, ...]) -> None:
    if findings:
        shown = "; ".join(f"{finding.what} ({finding.where})" for finding in findings[:FINDINGS_SHOWN])
        raise BackupError(
            f"The backup does not agree with itself in {len(findings)} places, nothing was restored: {shown}.",
            remedy="Use another backup.",
        )


def _require_as_named(statistics: StoreStatistics, manifest: BackupManifest) -> None:
    found = (statistics.subjects, statistics.templates, statistics.references)
    named = (manifest.subjects, manifest.templates, manifest.references)
    if found != named:
        raise BackupError(
            f"The backup names {named} subjects, templates and references.", value=found, remedy="Use another backup."
        )


def _replace(staged: Path, database: Path) -> None:
    """Replace a database by a finished one, and remove the write-ahead log of the old."""
    if database.exists():
        try:
            with closing(sqlite3.connect(database)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error:
            pass  # a damaged store is replaced all the same; nothing of it was promised to stay
    for suffix in ("-wal", "-shm", "-journal"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    put_in_place(staged, database)
