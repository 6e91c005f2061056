"""A host that cannot be loaded is told at once, and by its name."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from loadtests.scenarios.material import Material
from loadtests.scenarios.preparation import HostFailedError, Service, enrol_everybody, look_at
from loadtests.scenarios.table import SCENARIOS

MATERIAL = Material({"voice": {"ada": (b"1", b"2")}, "face": {"eve": (b"3",)}}, (b"signal",), "run")
MODELS = {"models": [{"name": "radio", "version": "v1", "graph": "int8"}, {"name": "voice", "version": "v2"}]}


class Host(ThreadingHTTPServer):
    """Says what it is told to say, and keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.enrol_status = 201
        self.said = {"/readyz": {}, "/v1/models": MODELS, "/openapi.json": {"info": {"version": "9.1"}}}
        self.enrolled: list[tuple[str | None, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answering(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        said = self.server.said.get(self.path)
        self._answer(503 if said is None else 200, json.dumps(said or {"code": "not_ready"}))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.enrolled.append((self.headers["Authorization"], body))
        self._answer(self.server.enrol_status, '{"code": "told"}')

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as host:
        thread = threading.Thread(target=host.serve_forever)
        thread.start()
        yield host
        host.shutdown()
        thread.join()


def test_service_that_serves_what_is_needed_is_described(host: Host):
    found = look_at(host.url, (), SCENARIOS["radio"])
    assert found == Service("9.1", ("radio v1 (int8)", "voice v2 (float)"))
    assert host.enrolled == []  # nobody is needed


def test_everybody_is_enrolled_in_each_tenant_by_its_key(host: Host):
    enrol_everybody(host.url, ("k1", "k2", "k3", "k4"), SCENARIOS["tenants"], MATERIAL)
    assert [key for key, _ in host.enrolled] == [f"Bearer k{n}" for n in (1, 1, 2, 2, 3, 3, 4, 4)]
    assert all(b"load:ada" in body or b"load:eve" in body for _, body in host.enrolled)


def test_subjects_of_an_earlier_run_are_no_failure_and_other_refusals_are(host: Host):
    challenge = SCENARIOS["challenge"]
    host.said["/v1/models"] = {"models": [{"name": name, "version": "v"} for name in ("voice", "phonemes")]}
    host.enrol_status = 409
    enrol_everybody(host.url, (), challenge, MATERIAL)
    host.enrol_status = 401
    with pytest.raises(HostFailedError, match=r"refused an enrolment with 401: .*told"):
        enrol_everybody(host.url, (), challenge, MATERIAL)


def test_model_that_is_not_served_is_named(host: Host):
    with pytest.raises(HostFailedError, match=r"equalizer needs the model equalizer, which http.* does not serve"):
        look_at(host.url, (), SCENARIOS["equalizer"])


def test_missing_keys_are_told_before_the_host_is_asked():
    with pytest.raises(HostFailedError, match=r"keys of 4 tenants, and has 1: make each with"):
        look_at("http://127.0.0.1:9", ("k1",), SCENARIOS["tenants"])


def test_host_that_is_not_ready_or_not_there_or_another_is_told(host: Host):
    del host.said["/readyz"]
    with pytest.raises(HostFailedError, match=r"/readyz answers 503: .*not_ready"):
        look_at(host.url, (), SCENARIOS["radio"])
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(HostFailedError, match="does not answer"):
            look_at(url, (), SCENARIOS["radio"])
    with pytest.raises(HostFailedError, match="does not answer"):
        look_at("", (), SCENARIOS["radio"])
