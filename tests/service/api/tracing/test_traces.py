"""Traces, as a collector of OpenTelemetry receives them."""

import asyncio
import io
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from starlette.types import Message, Receive, Scope, Send

from matchka.api.tracing.request_ids import RequestIds
from matchka.api.tracing.traces import opened_traces
from matchka.errors import MissingPackageError
from matchka.runtime.telemetry.logs import JsonFormatter
from tests.factories.bundles import write_bundle
from tests.factories.otlp_collector import Collector, attributes_of, collecting
from tests.factories.samples import sample
from tests.factories.small_server import SmallServer, serving, small_settings

WHO = "telltale-subject"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TIMEOUT_S = 60
SERVER, INTERNAL, ERROR = 2, 1, 2  # numbers of OTLP


@pytest.fixture(autouse=True)
def _sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenTelemetry's packages, and none of its variables that this machine may have."""
    pytest.importorskip("opentelemetry.sdk", reason="the extra [otel] is not installed here")
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_SERVICE_NAME", "OTEL_TRACES_SAMPLER", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "models" / "voice")
    return tmp_path


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def verify(server: SmallServer, subject: str = WHO, **headers: str) -> requests.Response:
    fields = {"model": "voice", "subject_id": subject}
    url = f"{server.url}/v1/verify"
    return requests.post(url, data=fields, files={"file": sample(1, 5)}, headers=headers, timeout=TIMEOUT_S)


def of_request(collector: Collector, name: str) -> tuple[Any, list[Any]]:
    """The only span of this name, and its children."""
    (span,) = [one for one in collector.spans if one.name == name]
    return span, [one for one in collector.spans if one.parent_span_id == span.span_id]


def test_requests_and_their_stages_arrive_as_spans_that_name_nobody(models: Path, collector: Collector):
    with serving(small_settings(models, traces_url=collector.url)) as server:
        server.client().enroll(WHO, [sample(1), sample(1, 1)], metadata={"note": "telltale-note"})
        answer = verify(server, **{"X-Request-ID": "case-7"})
        server.client().identify(sample(1, 3))
        verify(server, f"{WHO}-nobody")
    assert answer.json()["match"]
    assert all(one["service.name"] == "matchka" and one["service.version"] for one in collector.resources)
    assert b"telltale" not in b"".join(collector.bodies)
    assert "default" not in str(collector.spans)  # the tenant

    enrolled, stages = of_request(collector, "POST /v1/enroll")
    assert sorted(one.name for one in stages).count("decode") == 2
    assert {"decode", "prepare", "queue", "run", "store"} <= {one.name for one in stages}
    assert attributes_of(enrolled)["http.response.status_code"] == 201

    _, stages = of_request(collector, "POST /v1/identify")
    assert {"decode", "run", "search"} <= {one.name for one in stages}

    answered, refused = [one for one in collector.spans if one.name == "POST /v1/verify"]
    assert attributes_of(answered) == {
        "http.request.method": "POST",
        "http.route": "/v1/verify",
        "http.response.status_code": 200,
        "matchka.request_id": "case-7",
    }
    stages = [one for one in collector.spans if one.parent_span_id == answered.span_id]
    assert {"store", "decode", "prepare", "queue", "run", "decide"} == {one.name for one in stages}
    for stage in stages:
        assert (stage.trace_id, stage.kind, attributes_of(stage)) == (
            answered.trace_id,
            INTERNAL,
            {"matchka.model": "voice"},
        )
        assert answered.start_time_unix_nano <= stage.end_time_unix_nano <= answered.end_time_unix_nano
        assert stage.start_time_unix_nano <= stage.end_time_unix_nano
    assert answered.kind == refused.kind == SERVER
    assert answered.trace_id != refused.trace_id
    assert attributes_of(refused)["error.type"] == "unknown_subject"
    assert (answered.status.code, refused.status.code) == (0, 0)  # what a caller did wrong is no failure of the service


def test_request_of_a_caller_that_traces_is_a_part_of_its_trace(models: Path, collector: Collector):
    with serving(small_settings(models, traces_url=collector.url)) as server:
        verify(server, traceparent=PARENT)
        verify(server, traceparent=PARENT.removesuffix("01") + "00")  # the caller does not sample this one
    (span,) = [one for one in collector.spans if one.name == "POST /v1/verify"]
    _, trace_id, parent_id, _ = PARENT.split("-")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (trace_id, parent_id)


def test_standard_variables_name_the_service_and_send_headers_and_sample(
    models: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "doors")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    with serving(small_settings(models, traces_url=collector.url)) as server:
        verify(server)
    assert collector.headers["api-key"] == "secret"
    assert collector.headers["content-type"] == "application/x-protobuf"
    assert {(one["service.name"], one["deployment.environment"]) for one in collector.resources} == {("doors", "test")}
    collector.bodies.clear()
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    with serving(small_settings(models, traces_url=collector.url)) as server:
        verify(server)
    assert collector.bodies == []


def test_path_that_no_route_has_is_not_told(models: Path, collector: Collector):
    with serving(small_settings(models, traces_url=collector.url)) as server:
        assert requests.get(f"{server.url}/v1/nothing/{WHO}", timeout=TIMEOUT_S).status_code == 404
    (span,) = [one for one in collector.spans if one.name == "GET unknown"]
    assert attributes_of(span)["error.type"] == "unknown_path"
    assert WHO.encode() not in b"".join(collector.bodies)


def test_span_of_a_failure_of_the_service_has_failed_and_its_log_line_has_its_ids(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
):
    logged = io.StringIO()
    handler = logging.StreamHandler(logged)
    handler.setFormatter(JsonFormatter())
    monkeypatch.setattr(logging.getLogger("matchka.requests"), "handlers", [handler])

    async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ZeroDivisionError(WHO)

    async def ignored(_message: Message) -> None:
        return

    scope = {"type": "http", "method": "GET", "path": f"/{WHO}", "headers": []}
    with opened_traces(collector.url) as traces:
        asyncio.run(RequestIds(broken, lambda: traces)(scope, ignored, ignored))
    (span,) = collector.spans
    assert (span.status.code, attributes_of(span)["http.response.status_code"]) == (ERROR, 500)
    line = json.loads(logged.getvalue())
    assert (line["trace_id"], line["span_id"]) == (span.trace_id.hex(), span.span_id.hex())
    assert line["request_id"] == attributes_of(span)["matchka.request_id"]
    assert attributes_of(span)["error.type"] == "internal_error"
    assert WHO.encode() not in b"".join(collector.bodies)


def test_telemetry_of_the_framework_sends_nothing_whatever_the_environment_says(
    models: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.removesuffix("/v1/traces"))
    with serving(small_settings(models)) as server:
        requests.get(f"{server.url}/v1/subjects/{WHO}", timeout=TIMEOUT_S)
    assert collector.bodies == []


@pytest.mark.parametrize("status", [400, 503])
def test_collector_that_refuses_has_no_effect_on_requests(models: Path, status: int):
    with collecting(status) as collector:
        with serving(small_settings(models, traces_url=collector.url)) as server:
            server.client().enroll(WHO, [sample(1)])
            assert verify(server).json()["match"]
        assert collector.bodies  # it was asked, at the latest at the end


@pytest.mark.parametrize("is_listening", [False, True])
def test_collector_that_is_away_or_silent_has_no_effect_on_requests_and_on_the_end(models: Path, is_listening: bool):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        if not is_listening:
            silent.close()
        with serving(small_settings(models, traces_url=f"http://127.0.0.1:{port}/v1/traces")) as server:
            server.client().enroll(WHO, [sample(1)])
            for _ in range(20):
                assert verify(server).json()["match"]


def test_traces_without_the_extra_are_refused_with_its_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(MissingPackageError, match=r"matchka\[otel\]"), opened_traces("http://127.0.0.1:1/v1/traces"):
        pass


PROGRAM = """
import sys
from pathlib import Path
from fastapi.testclient import TestClient
from matchka.app import create_app
from matchka.settings import read_settings
folder = Path(sys.argv[1])
with TestClient(create_app(read_settings({}, models_dir=folder / "models", data_dir=folder / "data"))) as client:
    assert client.get("/healthz", headers={"Host": "127.0.0.1"}).status_code == 200
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))])
"""


def test_service_without_traces_imports_nothing_that_sends_them(models: Path):
    done = subprocess.run([sys.executable, "-c", PROGRAM, models], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
