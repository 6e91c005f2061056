"""The database's clock: what several processes and machines agree on, whatever their own clocks say."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from matchka.store.engine import database_of
from matchka.store.schema import UtcDateTime


class Now(FunctionElement[datetime]):
    """The database's time, as its columns write times."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(Now)
def _now(_element: Now, compiler: SQLCompiler, **_options: object) -> str:
    return database_of(compiler.dialect).now


def time_of(session: Session) -> datetime:
    """The database's time."""
    now: datetime = session.execute(select(Now())).scalar_one()
    return now
