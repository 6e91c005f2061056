"""The outermost middleware: gives each request its ids, and answers what failed unexpectedly."""

import logging
import re
import uuid
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from matchka.api.problems import INTERNAL_ERROR, problem_response
from matchka.api.tracing.traces import Traces
from matchka.errors import UnexpectedError
from matchka.runtime.telemetry.served_request import ServedRequest, serving

REQUEST_ID: Final = "X-Request-ID"
AUDIT_ID: Final = "Matchka-Request-Id"
# visible, and without a meaning in JSON, HTML, a shell or a log
TAKEN_OVER: Final = re.compile(r"[A-Za-z0-9._~:/@+=-]{1,128}", re.ASCII)
LOGGER: Final = logging.getLogger("matchka.requests")


class RequestIds:
    """ASGI middleware, around all others.

    Args:
        app: what is behind it.
        traces: where requests are traced, if anywhere.
    """

    def __init__(self, app: ASGIApp, traces: Callable[[], Traces | None] = lambda: None) -> None:
        self._app = app
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        served = identified(Headers(scope=scope).get(REQUEST_ID, ""))
        status: int | None = None

        async def send_with_ids(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID], headers[AUDIT_ID] = served.request_id, served.audit_id
            await send(message)

        traces = self._traces()
        span = None if traces is None else traces.begin(scope, served)
        with serving(served):
            try:
                await self._app(scope, receive, send_with_ids)
            except Exception:  # whatever it is, the caller gets an answer that tells nothing of it
                served.problem = INTERNAL_ERROR
                LOGGER.error("a request failed", exc_info=True)
                if status is None:
                    failed = UnexpectedError("The service failed.", remedy="Report this with the server's log.")
                    await problem_response(failed)(scope, receive, send_with_ids)
            finally:
                route = route_of(scope)
                if span is not None:
                    span.end(served, scope["method"], route, status)
                LOGGER.debug("%s %s: %s %s", scope["method"], route, status, served.problem or "")


def identified(given: str) -> ServedRequest:
    """A request with new ids; the first is the caller's, where it may be repeated.

    >>> identified("abc-1").request_id, identified("a b").request_id == "a b"
    ('abc-1', False)
    """
    new = uuid.uuid4().hex
    return ServedRequest(given if TAKEN_OVER.fullmatch(given) else new, new)


def route_of(scope: Scope) -> str:
    """The path pattern of its route, never the path itself: that may hold the id of a subject."""
    path: str = getattr(scope.get("route"), "path", "unknown")
    return path
