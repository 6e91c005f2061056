"""A service that refuses all that it is asked in the same words."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class RefusingService:
    """Where it is, and how many requests it refused."""

    url: str = ""
    refused: int = 0


@contextmanager
def refusing_service(status: int, code: str, **headers: str) -> Iterator[RefusingService]:
    """Refuse until the end of the block; of headers, `_` stands for `-`."""
    service = RefusingService()
    problem = {"type": "about:blank", "title": "", "detail": "No.", "value": None, "remedy": "Do."}
    body = json.dumps({**problem, "status": status, "code": code}).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            service.refused += 1
            self.send_response(status)
            for name, value in {**headers, "Content_Length": str(len(body))}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
