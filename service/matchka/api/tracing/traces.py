"""Traces of requests, sent to a collector of OpenTelemetry by OTLP over HTTP.

A trace leaves the machine: it has the route, the status, the problem's code and the stages of a request, and nothing of
who asked, about whom, or what was found. The request's id leads to the rest, in the log and the audit log.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from threading import Thread
from typing import Any, Final, Protocol

from starlette.types import Scope

from matchka.errors import extra_required
from matchka.runtime.telemetry.served_request import ServedRequest

FLUSH_S: Final = 3.0  # for the last spans, at the end: a collector that is away must not hold up a stop


class RequestSpan(Protocol):
    """The trace of one request, until it is answered."""

    def end(self, served: ServedRequest, method: str, route: str, status: int | None) -> None:
        """Say what came of it; status is None where no answer was begun."""
        ...


class Traces(Protocol):
    """Where requests are traced."""

    def begin(self, scope: Scope, served: ServedRequest) -> RequestSpan | None:
        """A request begins, in the caller's trace where its headers name one; None where it is not sampled."""
        ...


@contextmanager
def opened_traces(url: str | None) -> Iterator[Traces | None]:
    """Send traces until the end of the block; None, and nothing is imported, where there is no address.

    What cannot be sent waits in memory, 2,048 spans at most, and is dropped then: no request waits for a collector.
    Sampling, headers, time limits and names are those of OpenTelemetry's standard variables (OTEL_…).

    Args: url: that spans are posted to.
    Raises: MissingPackageError: the extra [otel] is not installed.
    """
    if url is None:
        yield None
        return
    with extra_required("otel"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        from matchka.api.tracing.spans import Spans
    own = Resource({"service.name": "matchka", "service.version": version("matchka")})
    provider = TracerProvider(resource=own.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    exporter: Any = OTLPSpanExporter(endpoint=url)  # a method of it has no types
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield Spans(provider.get_tracer("matchka", version("matchka")))
    finally:
        closing = Thread(target=provider.shutdown, name="traces-closing", daemon=True)
        closing.start()
        closing.join(FLUSH_S)
        if closing.is_alive():
            exporter.shutdown()  # ends the wait between two attempts
