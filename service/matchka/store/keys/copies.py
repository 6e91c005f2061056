"""API keys in copies of a store: what was revoked or blocked must not come back with an older one."""

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sqlalchemy import Select, delete, insert, select
from sqlalchemy.orm import Session

from matchka.store.schema import AttemptRow, KeyRow, SubjectRow

RowValues: TypeAlias = dict[str, Any]  # by their columns

FIRST_WITH_KEYS: Final = 6  # version of the tables


@dataclass(frozen=True)
class KeyCopy:
    """Every key, revoked ones included, and what failed of late with each."""

    keys: list[RowValues]
    attempts: list[RowValues]


def keys_in(session: Session) -> KeyCopy:
    """What a store knows of its keys."""
    return KeyCopy(*([dict(row) for row in session.execute(select(t.__table__)).mappings()] for t in _TABLES))


def replace_keys(session: Session, copy: KeyCopy) -> None:
    """Put these keys, and what failed with them, in the place of all that is there.

    What failed of subjects that this store does not have is left out: the next subject may get the key of one of them.
    """
    for table, rows in zip(_TABLES, (copy.keys, copy.attempts), strict=True):
        session.execute(delete(table))
        if rows:
            session.execute(insert(table), rows)
    session.execute(delete(AttemptRow).where(AttemptRow.subject_key > 0, AttemptRow.subject_key.not_in(_subjects())))


def _subjects() -> Select[int]:
    return select(SubjectRow.key)


_TABLES: Final = (KeyRow, AttemptRow)
