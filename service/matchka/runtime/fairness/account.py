"""Whom work is done for, carried by a context variable from the request to the queues far below it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Account:
    """One of those among whom the service is shared: first among tenants, then among the accounts of each.

    Attributes:
        name: tells it from all others.
        weight: its part of what its tenant has, beside the weights of the tenant's others; > 0.
        tenant: whose it is. Tenants have equal parts, however many accounts each has.
    """

    name: str
    weight: float = 1.0
    tenant: str = ""


ANONYMOUS: Final = Account("anonymous")  # callers where no key is in force, and work that no request asked for

# A context variable only works at module level.
_CURRENT: Final[ContextVar[Account]] = ContextVar("matchka_account", default=ANONYMOUS)


def current_account() -> Account:
    """That which this thread works for."""
    return _CURRENT.get()


@contextmanager
def working_as(account: Account) -> Iterator[None]:
    """Work for an account in this thread until the end of the block."""
    token = _CURRENT.set(account)
    try:
        yield
    finally:
        _CURRENT.reset(token)
