"""Noting changes: whatever writes or deletes references says whose, in its own transaction."""

from collections.abc import Iterable

from sqlalchemy import insert
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from matchka.store.clock import Now
from matchka.store.engine import database_of
from matchka.store.schema import ChangeRow


class CurrentTransaction(FunctionElement[int]):
    """The number of the transaction that writes."""

    inherit_cache = True


@compiles(CurrentTransaction)
def _current_transaction(_element: CurrentTransaction, compiler: SQLCompiler, **_options: object) -> str:
    return database_of(compiler.dialect).transaction


_NOTE = insert(ChangeRow.__table__).values(transaction_id=CurrentTransaction(), changed_at=Now())  # type: ignore[arg-type]


def note_changes(session: Session, tenant: str, subject_keys: Iterable[int], model: str | None = None) -> None:
    """Have every follower look at subjects of a tenant again.

    To be called in the transaction in which their references are written or deleted: both are committed, or neither.

    Args:
        session: in that transaction.
        tenant: owner of the subjects.
        subject_keys: whose references change.
        model: of these; all models of the subjects where None.
    """
    rows = [{"tenant": tenant, "subject_key": key, "model": model} for key in subject_keys]
    if rows:
        session.connection().execute(_NOTE, rows)
