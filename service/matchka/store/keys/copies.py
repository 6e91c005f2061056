"""API keys in copies of a store: what was revoked must not come back with an older one."""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from matchka.store.schema import KeyRow

KeyValues: TypeAlias = dict[str, Any]  # a row by its columns

FIRST_WITH_KEYS: Final = 6  # version of the tables


def keys_in(session: Session) -> list[KeyValues]:
    """Every key, revoked ones included."""
    return [dict(row) for row in session.execute(select(KeyRow.__table__)).mappings()]


def replace_keys(session: Session, keys: Sequence[KeyValues]) -> None:
    """Put these keys in the place of all that are there."""
    session.execute(delete(KeyRow))
    if keys:
        session.execute(insert(KeyRow), list(keys))
