"""The command line at a service that has no room for a while."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO

import pytest
from rich.console import Console

from matchka.cli.client.options import connected
from matchka.cli.output.errors import FAILED
from matchka.client import retries
from tests.factories.command_line import run
from tests.factories.small_server import SmallServer

PROBLEM = {"type": "about:blank", "title": "", "status": 503, "code": "overloaded", "detail": "Full.", "value": None}


@contextmanager
def busy_service(refusals: int, retry_after: str) -> Iterator[tuple[str, list[str]]]:
    """A listener that refuses so many requests and lists no model afterwards: its address, and what it was asked."""
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            has_room = len(asked) > refusals
            body = json.dumps({"models": []} if has_room else PROBLEM | {"remedy": "Wait."}).encode()
            self.send_response(200 if has_room else 503)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Retry-After", retry_after)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_address[1]}", asked
        finally:
            listener.shutdown()
            thread.join()


def test_command_is_repeated_when_there_is_no_room_twice_and_says_that_it_waits(small_server: SmallServer):
    with busy_service(refusals=2, retry_after="1") as (url, asked):
        done = run(small_server, "models", "--json", "--url", url)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["models"] == []
    assert asked == ["/v1/models"] * 3
    assert done.stderr.splitlines() == ["the service has no room; asking again in 1 s"] * 2


def test_pause_is_told_on_the_console_that_shows_something_else(capsys: pytest.CaptureFixture[str]):
    console = Console(file=StringIO())
    with busy_service(refusals=1, retry_after="1") as (url, _asked), connected(url, console) as client:
        client.models()
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue() == "the service has no room; asking again in 1 s\n"
    assert capsys.readouterr().err == ""


def test_command_gives_up_when_there_is_never_room_and_short_waits_are_not_told(
    small_server: SmallServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retries, "FIRST_PAUSE_S", 0.001)
    with busy_service(refusals=100, retry_after="0") as (url, asked):
        done = run(small_server, "models", "--url", url)
    assert done.exit_code == FAILED
    assert len(asked) == retries.MOST_TRIES
    assert done.stderr == "error: Full. Wait.\n"
