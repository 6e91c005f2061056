"""A real HTTP server that behaves as hubs do on bad days: it ignores ranges, truncates, stalls, refuses."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = bytes(range(256)) * 4000  # a megabyte whose every part differs from the next


@dataclass
class Hub:
    """One file on a server.

    Attributes:
        content: the file.
        etag: its validator; None sends none.
        behaviours: how the next requests are answered, the last one for ever: "range", "whole" (ranges ignored),
            "truncate" (half of what is asked for), "stall" (the same, but the connection stays open), "other range",
            "page", "unsatisfiable", or a status.
        requests: the headers of every request.
        url: of the file.
    """

    content: bytes = CONTENT
    etag: str | None = '"one"'
    behaviours: list[str] = field(default_factory=lambda: ["range"])
    requests: list[dict[str, str]] = field(default_factory=list)
    url: str = ""
    closing: threading.Event = field(default_factory=threading.Event)

    def next_behaviour(self) -> str:
        return self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Serve on a free port of this machine until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.requests.append(dict(self.headers))
            answer(self, hub, hub.next_behaviour())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}/model.pt"
    try:
        yield hub
    finally:
        hub.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def answer(request: BaseHTTPRequestHandler, hub: Hub, behaviour: str) -> None:
    if behaviour.isdigit() or behaviour == "unsatisfiable":
        request.send_error(416 if behaviour == "unsatisfiable" else int(behaviour))
        return
    if behaviour == "page":
        send(request, 200, b"<html>sign in</html>", {"Content-Type": "text/html; charset=utf-8"})
        return
    asked = request.headers.get("Range")
    valid = asked is not None and request.headers.get("If-Range") in (None, hub.etag)
    start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and valid and behaviour != "whole" else 0
    headers = {"Content-Type": "application/octet-stream"} | ({"ETag": hub.etag} if hub.etag else {})
    if start:
        shown = 0 if behaviour == "other range" else start
        headers["Content-Range"] = f"bytes {shown}-{len(hub.content) - 1}/{len(hub.content)}"
    body = hub.content[start:]
    cut = body[: len(body) // 2] if behaviour in ("truncate", "stall") else body
    send(request, 206 if start else 200, cut, headers | {"Content-Length": str(len(body))})
    if behaviour == "stall":
        hub.closing.wait()


def send(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
    request.send_response(status)
    for name, value in ({"Content-Length": str(len(body))} | headers).items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)
    request.wfile.flush()
