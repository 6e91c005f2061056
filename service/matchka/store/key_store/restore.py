"""Putting the copy of a key store into a database without keys, less the keys of whoever was deleted since."""

import sqlite3
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Table, create_engine, delete, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from matchka.errors import BackupError, RestoreRefusedError
from matchka.store.engine import changing_tables
from matchka.store.key_store.key_store import KEYS_LOCK, KeyStore
from matchka.store.key_store.tables import KEY_TABLES_VERSION, KeyStoreRow, MasterWrapRow, SubjectKeyRow, TenantKeyRow
from matchka.store.postgres.backup import go_on_behind

ROWS_AT_ONCE: Final = 5_000
GET_ANOTHER: Final = "Name a copy that `matchka vault backup` wrote."


@dataclass(frozen=True)
class KeysRestored:
    """What came of it. Attributes: keys: of subjects. left_out: those that nobody in the store has any more."""

    keys: int
    left_out: int


def restore_key_backup(source: Path, keys: KeyStore, held: Collection[bytes]) -> KeysRestored:
    """Put a copy into a key store without keys, in one transaction; no service uses it.

    Args:
        source: the copy.
        keys: where to; it takes the identity of the copy's.
        held: ids of the keys that subjects of the store have; all keys are taken where nobody has any, which is a store
            that is still to be restored.

    Raises:
        BackupError: the copy is none, or damaged.
        RestoreRefusedError: there are keys already.
    """
    _require_sound(source)
    copy = create_engine(f"sqlite:///file:{source}?mode=ro&uri=true", hide_parameters=True)
    try:
        with copy.connect() as file, changing_tables(keys.engine, KEYS_LOCK) as target:
            if target.scalar(select(func.count()).select_from(TenantKeyRow)):
                raise RestoreRefusedError(
                    "The key store has keys already.",
                    value=keys.engine.url.database,
                    remedy="Name an empty database in MATCHKA_KEY_DATABASE_URL; keep the other until this one opens "
                    "the templates.",
                )
            target.execute(delete(KeyStoreRow))
            for row in (KeyStoreRow, TenantKeyRow, MasterWrapRow):
                _put(target, row.__table__, _rows(file, row.__table__))  # type: ignore[arg-type]
            wrapped = _rows(file, SubjectKeyRow.__table__)  # type: ignore[arg-type]
            taken = [one for one in wrapped if not held or one["key_id"] in held]
            _put(target, SubjectKeyRow.__table__, taken)  # type: ignore[arg-type]
            _NUMBERS[keys.engine.dialect.name](target, TenantKeyRow.__table__, _last_number(source))  # type: ignore[arg-type]
    except SQLAlchemyError as error:
        raise BackupError(
            "The copy cannot be put into the key store; nothing of it was changed.",
            value=error,
            remedy="Check the key store's database and its rights.",
        ) from error
    finally:
        copy.dispose()
    return KeysRestored(len(taken), len(wrapped) - len(taken))


def _require_sound(source: Path) -> None:
    try:
        with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as connection:
            (answer,) = connection.execute("PRAGMA integrity_check").fetchone()
            (version,) = connection.execute(f"SELECT version FROM {KeyStoreRow.__tablename__}").fetchone()  # noqa: S608
    except (sqlite3.Error, TypeError) as error:
        raise BackupError("This is no copy of a key store.", value=source, remedy=GET_ANOTHER) from error
    if answer != "ok":
        raise BackupError("The copy of the key store is damaged.", value=answer, remedy="Look for another copy of it.")
    if version != KEY_TABLES_VERSION:
        raise BackupError(
            f"The copy has tables of version {version}; this program needs {KEY_TABLES_VERSION}.", remedy=GET_ANOTHER
        )


def _rows(source: Connection, table: Table) -> list[Mapping[str, object]]:
    return [dict(row) for row in source.execute(select(table)).mappings()]


def _put(target: Connection, table: Table, rows: list[Mapping[str, object]]) -> None:
    for start in range(0, len(rows), ROWS_AT_ONCE):
        target.execute(insert(table), rows[start : start + ROWS_AT_ONCE])


def _last_number(source: Path) -> int:
    with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as connection:
        query = "SELECT seq FROM sqlite_sequence WHERE name = ?"
        found = connection.execute(query, (TenantKeyRow.__tablename__,)).fetchone()
    return int(found[0]) if found else 0


def _go_on_in_file(target: Connection, table: Table, number: int) -> None:
    target.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (table.name,))
    target.exec_driver_sql("INSERT INTO sqlite_sequence VALUES (?, ?)", (table.name, number))


# no number of a tenant's key is ever given twice, not even that of one that was rotated away
_NUMBERS: Final[Mapping[str, Callable[[Connection, Table, int], None]]] = {
    "sqlite": _go_on_in_file,
    "postgresql": go_on_behind,
}
