"""A collector of traces: an HTTP server that takes OTLP's protobuf messages and decodes them."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Collector:
    """What it was sent.

    Attributes:
        url: where spans are posted.
        bodies: of the requests, as they came.
        headers: of the last one.
    """

    url: str
    bodies: list[bytes] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def resources(self) -> list[dict[str, Any]]:
        """Attributes of what sent each message."""
        return [attributes_of(one.resource) for message in self._messages() for one in message.resource_spans]

    @property
    def spans(self) -> list[Any]:
        """Every span, as the protobuf message that it came in."""
        return [
            span
            for message in self._messages()
            for resource in message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def _messages(self) -> list[Any]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        return [ExportTraceServiceRequest.FromString(body) for body in self.bodies]


def attributes_of(part: Any) -> dict[str, Any]:
    """Attributes of a span or a resource, by name."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in part.attributes}


@contextlib.contextmanager
def collecting(status: int = 200) -> Iterator[Collector]:
    """A collector on a free port until the end of the block, which answers every message with a status."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.headers = {name.lower(): value for name, value in self.headers.items()}
            collector.bodies.append(body)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_request(self, *_: object) -> None:
            """It says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_address[1]}/v1/traces")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
