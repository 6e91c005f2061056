"""A request and its stages as spans of OpenTelemetry. Imported only where traces are sent."""

import time
from collections.abc import Iterator
from typing import Final

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import Scope

from matchka.runtime.telemetry.served_request import ServedRequest

NS: Final = 1_000_000_000
FAILED_FROM: Final = 500


class Spans:
    """Makes a span of each request. Args: tracer: where to."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, scope: Scope, served: ServedRequest) -> "OpenSpan | None":
        """Begin one; see Traces.begin."""
        parent = self._propagator.extract(dict(Headers(scope=scope)))
        span = self._tracer.start_span(scope["method"], parent, SpanKind.SERVER)
        found = span.get_span_context()
        served.trace_id, served.span_id = f"{found.trace_id:032x}", f"{found.span_id:016x}"
        if not span.is_recording():
            return None
        served.stages = []
        return OpenSpan(self._tracer, span)


class OpenSpan:
    """The span of one request."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span

    def end(self, served: ServedRequest, method: str, route: str, status: int | None) -> None:
        """End it, with a span for each stage that was done for it."""
        span = self._span
        span.update_name(f"{method} {route}")
        for name, value in _attributes(served, method, route, status):
            span.set_attribute(name, value)
        if status is None or status >= FAILED_FROM:
            span.set_status(Status(StatusCode.ERROR))
        around = set_span_in_context(span)
        for stage in tuple(served.stages or ()):
            began_ns = stage.ended_ns - round(stage.seconds * NS)
            child = self._tracer.start_span(stage.stage, around, start_time=began_ns)
            child.set_attribute("matchka.model", stage.model)
            child.end(stage.ended_ns)
        span.end(time.time_ns())


def _attributes(served: ServedRequest, method: str, route: str, status: int | None) -> Iterator[tuple[str, str | int]]:
    yield from (("http.request.method", method), ("http.route", route), ("matchka.request_id", served.request_id))
    if status is not None:
        yield "http.response.status_code", status
    if served.problem is not None:
        yield "error.type", served.problem
