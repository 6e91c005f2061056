"""The middleware that has the audit log record each request when it is answered."""

from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from matchka.api.guards.failed_keys import network_of
from matchka.api.problems import INTERNAL_ERROR
from matchka.api.scopes import SCOPES
from matchka.runtime.audited_request import KEYLESS, AuditedRequest, Decided, current_request, working_on
from matchka.runtime.telemetry.served_request import served_request
from matchka.store.audit.records import Event, Outcome
from matchka.store.audit.writer import AuditWriter
from matchka.store.keys.records import Grant

AUDITED_PREFIX: Final = "/v1/"
# refusals that are recorded elsewhere as well, at /metrics say
OF_CALLERS: Final = frozenset({"unauthorized", "missing_scope", "too_many_requests", "forbidden_host", "cross_site"})
NO_CALL: Final = "unknown"  # a path of the caller's own making is not kept
LONGEST_NETWORK: Final = 64


class AuditTrail:
    """ASGI middleware: outside of all that refuses, so that every request is recorded once, with what came of it.

    RequestIds is outside of it.

    A change that was recorded in its own transaction is not recorded again.

    Args:
        app: what is behind it.
        writer: what records, if anything does.
    """

    def __init__(self, app: ASGIApp, writer: Callable[[], AuditWriter | None]) -> None:
        self._app = app
        self._writer = writer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        served = served_request()
        if scope["type"] != "http" or served is None:
            await self._app(scope, receive, send)
            return
        asked = AuditedRequest(served.audit_id, _call_of(scope["method"], scope["path"]))
        with working_on(asked):
            try:
                await self._app(scope, receive, send)
            except BaseException:  # also one that is cancelled: it is not answered
                served.problem = served.problem or INTERNAL_ERROR
                raise
            finally:
                writer = self._writer()
                if writer is not None:
                    for event in _events_of(asked, served.problem, scope):
                        writer.submit(event)


def note_caller(grant: Grant) -> None:
    """Say who asks."""
    asked = current_request()
    if asked is not None:
        asked.tenant, asked.key_id = grant.tenant, grant.key_id or KEYLESS


def _call_of(method: str, path: str) -> str:
    return f"{method} {path}" if (method, path) in SCOPES else NO_CALL


def _events_of(asked: AuditedRequest, problem: str | None, scope: Scope) -> list[Event]:
    is_call = scope["path"].startswith(AUDITED_PREFIX)
    is_answered = asked.key_id is not None  # not by whom nobody asked for a key: a browser before a call (CORS)
    if problem is None and (not is_call or not is_answered or asked.is_recorded):
        return []
    if problem is not None and not is_call and problem not in OF_CALLERS:
        return []
    if problem is not None:
        refused = Decided(Outcome.REFUSED)
        return [_event(asked, refused, problem, None if asked.key_id else _network(scope))]
    return [_event(asked, one) for one in asked.decided or [Decided(Outcome.DONE)]]


def _event(asked: AuditedRequest, decided: Decided, detail: str | None = None, network: str | None = None) -> Event:
    return Event(
        outcome=Outcome(decided.outcome),
        call=asked.call,
        tenant=asked.tenant,
        key_id=asked.key_id,
        subject_id=decided.subject_id or asked.subject_id,
        model=asked.model,
        version=decided.version,
        threshold=decided.threshold,
        detail=detail,
        network=network,
        request_id=asked.request_id,
    )


def _network(scope: Scope) -> str:
    address, _ = scope.get("client") or ("unknown", 0)
    return network_of(address)[:LONGEST_NETWORK]
