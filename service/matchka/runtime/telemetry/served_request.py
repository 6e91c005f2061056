"""What logs, metrics and traces say of the request that is served, carried by a context variable."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class StageRun:
    """One occurrence of a stage.

    Attributes:
        model: label of the model.
        stage: of stage_timer.Stage.
        ended_ns: nanoseconds since 1970.
        seconds: that it took.
    """

    model: str
    stage: str
    seconds: float
    ended_ns: int = field(default_factory=time.time_ns)


@dataclass
class ServedRequest:
    """What is known of a request so far.

    Attributes:
        request_id: in its answer and in the log: the caller's own, where it sent one that can be repeated.
        audit_id: in the audit log, 32 hexadecimal digits that no caller chooses; the same where the caller sent none.
        problem: the code of the problem that it is answered with.
        trace_id: 32 hexadecimal digits, and that of its span, 16; None where it is not traced.
        stages: what was done for it; None where nobody wants to know. Threads may add to it.
    """

    request_id: str
    audit_id: str
    problem: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    stages: list[StageRun] | None = None

    def note_stage(self, model: str, stage: str, seconds: float) -> None:
        """Say that a stage has just ended."""
        if self.stages is not None:
            self.stages.append(StageRun(model, stage, seconds))


# which only works at module level; see runtime/deadline.py
_CURRENT: Final[ContextVar[ServedRequest | None]] = ContextVar("matchka_served_request", default=None)


def served_request() -> ServedRequest | None:
    """The request that this thread works for; None outside of them."""
    return _CURRENT.get()


@contextmanager
def serving(request: ServedRequest) -> Iterator[None]:
    """Work for a request until the end of the block."""
    token = _CURRENT.set(request)
    try:
        yield
    finally:
        _CURRENT.reset(token)
