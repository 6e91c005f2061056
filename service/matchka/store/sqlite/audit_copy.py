"""The audit log of a store that a restore replaces goes on in the restored one, which has an older one or another's."""

import sqlite3
from contextlib import closing
from pathlib import Path

from matchka.store.audit.records import FIELDS
from matchka.store.schema import AuditHeadRow, AuditRow


def keep_log(restored: Path, replaced: Path) -> bool:
    """Put the log of one store in the place of another's.

    Args:
        restored: the SQLite file that is being prepared.
        replaced: that of the store whose log is kept.

    Returns: False where there is none, or it cannot be read; then nothing is changed.
    """
    head = "number, sequence, hash, pruned_sequence, pruned_hash"
    tables = {AuditRow.__tablename__: ", ".join((*FIELDS, "hash")), AuditHeadRow.__tablename__: head}
    if not replaced.exists():
        return False
    try:
        with closing(sqlite3.connect(restored)) as connection:
            connection.execute("ATTACH DATABASE ? AS replaced", (str(replaced),))
            with connection:
                for table, columns in tables.items():
                    connection.execute(f"DELETE FROM main.{table}")  # noqa: S608 - constants
                    connection.execute(
                        f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM replaced.{table}"  # noqa: S608
                    )
    except sqlite3.Error:  # damaged, or of tables from before there was a log
        return False
    return True
