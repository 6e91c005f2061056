"""Restoring a backup into a PostgreSQL server: prepared and checked in a file, then put there in one transaction."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from matchka.errors import BackupError, RestoreRefusedError
from matchka.store.audit.log import AuditLog
from matchka.store.audit.records import Outcome
from matchka.store.database_errors import as_matchka_error
from matchka.store.engine import changing_tables, open_engine
from matchka.store.keys.copies import KeyCopy, replace_keys
from matchka.store.migrations.migrate import bring_up_to_date, version_of_tables
from matchka.store.postgres.backup import copy_rows, go_on_behind, last_number, numbered_tables
from matchka.store.postgres.database import APPLICATION
from matchka.store.schema import AuditHeadRow, AuditRow, Base
from matchka.store.sqlite.restore import RestorePlan, RestoreReport, restore, restored_from
from matchka.store.sqlite.staging import DATABASE_NAME, staging_folder
from matchka.store.statistics import statistics_of
from matchka.store.transfer.archive import Advance
from matchka.store.transfer.left_behind import LeftBehind, finish_erasures_of, left_behind

FIRST_WITH_AUDIT_LOG: Final = 8
LOG_TABLES: Final = frozenset({AuditRow.__tablename__, AuditHeadRow.__tablename__})
OTHERS: Final = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = %s AND pid <> pg_backend_pid()
"""


def restore_into_server(url: str, plan: RestorePlan, advance: Advance, progress: Advance) -> RestoreReport:
    """Restore a backup into a server's database; the caller owns the data folder, and no service is connected.

    Args:
        url: of the database: an empty one, or one with a store where the plan replaces it.
        plan: what and how; beside its file, which is not made, the backup is unpacked.
        advance: called with the bytes copied, of how many.
        progress: called with the templates checked, and then with the rows written, of how many.

    Raises:
        BackupError: the backup does not check out, or the server cannot be written; nothing of it was changed.
        RestoreRefusedError: a store is there and may not be replaced, or is in use, or its deletion log is unreadable.
        StoreError: the backup is of a newer program, or the database has tables of another application.
        VaultLockedError: the backup is encrypted, and the vault has none of its keys; or keys of the store that is
            replaced are still to be destroyed in another key store.
    """
    server = open_engine(url)
    try:
        left = LeftBehind()
        version = version_of_tables(server)
        is_replaced = version is not None
        if is_replaced:
            _require_replaceable(server, plan)
            left = left_behind(url, may_lose_deletions=plan.may_lose_deletions)
            finish_erasures_of(url, plan.vault)
        bring_up_to_date(server)
        with staging_folder(plan.database) as staging:
            staged = staging / DATABASE_NAME
            deletions = (*plan.deletions, *left.deletions)
            staged_plan = replace(
                plan,
                database=staged,
                replace=False,
                deletions=deletions,
                horizon=left.horizon,
                expiries=left.expiries,
            )
            report = restore(staged_plan, advance, progress)
            has_log = version is not None and version >= FIRST_WITH_AUDIT_LOG
            log = AuditLog(server, is_on=plan.is_audited) if has_log else None
            _put(staged, server, left.keys, log, report, progress)
        if is_replaced:  # nothing in clear is left
            plan.vault.accept_only_sealed()
    except SQLAlchemyError as error:
        known = as_matchka_error(error)
        raise BackupError(
            "The backup cannot be put into the database; nothing of it was changed.",
            value=known.value if known else error,
            remedy="Check the database server, its disk and the rights of its user.",
        ) from error
    finally:
        server.dispose()
    return replace(report, old_keys=0) if left.keys is not None and left.keys.keys else report


def _require_replaceable(server: Engine, plan: RestorePlan) -> None:
    """Refuse to replace a store that nobody said may go, or that a service is connected to."""
    if not plan.replace:
        raise RestoreRefusedError(
            "There is a store already.", value=server.url.database, remedy="Say --replace, or name an empty database."
        )
    with server.connect() as connection:
        others = connection.exec_driver_sql(OTHERS, (APPLICATION,)).scalar_one()
    if others:
        raise RestoreRefusedError(
            "Services are connected to the database that is to be replaced.",
            value=f"{others} connections",
            remedy="Stop every service first.",
        )


def _put(
    staged: Path,
    server: Engine,
    keys: KeyCopy | None,
    log: AuditLog | None,
    report: RestoreReport,
    progress: Advance,
) -> None:
    """Put what a file holds in the place of all that a server holds, in one transaction.

    Numbers of subjects go on behind the highest of either, so that none is ever given twice. Where there is an audit
    log, it stays and goes on; the file's comes in its place where there is none.
    """
    tables = [table for table in Base.metadata.sorted_tables if log is None or table.name not in LOG_TABLES]
    file = create_engine(f"sqlite:///{staged}", hide_parameters=True)
    try:
        with file.connect() as source, changing_tables(server) as target:
            numbers = {
                table.name: max(last_number(target, table), _last_number_of_file(source, table.name))
                for table in numbered_tables()
            }
            target.exec_driver_sql(f"TRUNCATE {', '.join(table.name for table in tables)}")
            copy_rows(source, target, progress, tables)
            for table in numbered_tables():
                go_on_behind(target, table, numbers[table.name])
            with Session(target) as session:
                if keys is not None and keys.keys:
                    replace_keys(session, keys)
                if log is not None:
                    log.note(session, Outcome.RESTORED, detail=restored_from(report.manifest, is_log_kept=True))
                found = statistics_of(session)
                session.flush()
            if found != report.statistics:
                raise BackupError(
                    "The database does not hold what was put into it; nothing of it was changed.",
                    value=found,
                    remedy="Try again, with nothing else connected to the database.",
                )
    finally:
        file.dispose()


def _last_number_of_file(source: Connection, table: str) -> int:
    found = source.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).scalar()
    return int(found or 0)
