"""When the subjects of a store that is replaced expire: an older copy puts off no end that was set since."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from matchka.store.schema import SubjectRow

FIRST_WITH_EXPIRIES: Final = 9  # version of the tables


@dataclass(frozen=True)
class Expiry:
    """The end of one subject's time, by the database's clock."""

    subject_key: int
    tenant: str
    subject_id: str
    expires_at: datetime


def expiries_in(session: Session) -> tuple[Expiry, ...]:
    """Of every subject that expires."""
    query = select(SubjectRow.key, SubjectRow.tenant, SubjectRow.subject_id, SubjectRow.expires_at)
    rows = session.execute(query.where(SubjectRow.expires_at.is_not(None)).order_by(SubjectRow.key))
    return tuple(Expiry(key, tenant, subject_id, until) for key, tenant, subject_id, until in rows if until is not None)


def keep_expiries(session: Session, expiries: Iterable[Expiry]) -> None:
    """Have the subjects that are the same ones expire when they did there."""
    table = SubjectRow.__table__.c
    values = [
        {"of_key": one.subject_key, "of_tenant": one.tenant, "of_id": one.subject_id, "until": one.expires_at}
        for one in expiries
    ]
    if values:
        is_same = (
            table.key == bindparam("of_key"),
            table.tenant == bindparam("of_tenant"),
            table.subject_id == bindparam("of_id"),
        )
        statement = update(SubjectRow.__table__).where(*is_same).values(expires_at=bindparam("until"))  # type: ignore[arg-type]
        session.connection().execute(statement, values)
