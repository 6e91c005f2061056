"""What the audit log says of the request that is served, or of the command that runs, carried by a context variable.

What is recorded becomes known in many places: who asks at the guard, what was asked for in the form, the decision in
the answer, and a change in the store, many calls below the route.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

KEYLESS: Final = "keyless"  # who asks while no key is in force
COMMAND: Final = "command"  # who runs a command on the machine


@dataclass(frozen=True)
class Decided:
    """What an answer decides: the outcome's word, on whom, at which threshold, by which version of a model."""

    outcome: str
    subject_id: str | None = None
    threshold: float | None = None
    version: str | None = None


@dataclass
class AuditedRequest:
    """What is known of a request so far.

    Attributes:
        request_id: 32 hexadecimal digits; None for a command.
        call: method and path pattern, or the command.
        key_id: of the key that asks; `first`, `keyless` or `command` where it has no id; None until it is known.
        decided: what its answer decides; one entry for each of several faces.
        is_recorded: whether a change was recorded with it, in its own transaction.
    """

    request_id: str | None
    call: str
    tenant: str | None = None
    key_id: str | None = None
    subject_id: str | None = None
    model: str | None = None
    decided: list[Decided] = field(default_factory=list)
    is_recorded: bool = False


# which only works at module level; see runtime/deadline.py
_CURRENT: Final[ContextVar[AuditedRequest | None]] = ContextVar("matchka_audited_request", default=None)


def current_request() -> AuditedRequest | None:
    """The request or command that this thread works for; None outside of them."""
    return _CURRENT.get()


@contextmanager
def working_on(request: AuditedRequest | None) -> Iterator[None]:
    """Work for a request until the end of the block."""
    token = _CURRENT.set(request)
    try:
        yield
    finally:
        _CURRENT.reset(token)
