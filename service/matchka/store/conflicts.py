"""Transactions that failed only because of another one at the same moment are repeated, a few times."""

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm.exc import StaleDataError

from matchka.store.engine import DATABASES

MOST_TRIES: Final = 5
FIRST_PAUSE_S: Final = 0.01  # at most, and twice as long each time: those that met each other part

P = ParamSpec("P")
T = TypeVar("T")


def repeated_on_conflict(transaction: Callable[P, T]) -> Callable[P, T]:
    """Repeat what is one transaction, whole, where it lost against another.

    That is: a deadlock, a row that both have made, or one that the other has deleted since it was read here.

    Row locks and locked names keep nearly all from meeting; an import, which locks no names, does not.
    """

    @wraps(transaction)
    def repeated(*args: P.args, **options: P.kwargs) -> T:
        longest_pause_s = FIRST_PAUSE_S
        for _ in range(MOST_TRIES - 1):
            try:
                return transaction(*args, **options)
            except StaleDataError:
                pass
            except DBAPIError as error:
                if not is_conflict(error):
                    raise
            time.sleep(random.uniform(0, longest_pause_s))
            longest_pause_s *= 2
        return transaction(*args, **options)

    return repeated


def is_conflict(error: DBAPIError) -> bool:
    """Whether a transaction failed because of another one."""
    return any(database.is_conflict(error) for database in DATABASES.values())
