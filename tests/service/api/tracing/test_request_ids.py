"""Every answer has a request id, the caller's own where it can be repeated."""

import asyncio
import json
import re
from typing import Any

import pytest
import requests
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from matchka.api.guards.middleware import InFlightLimit, Refusals
from matchka.api.tracing.request_ids import RequestIds
from matchka.app import create_app, create_health_app
from matchka.settings import Settings
from tests.factories.bundles import write_bundle
from tests.factories.small_server import SmallServer, serving, small_settings

KEY = "0123456789abcdef"
OWN = re.compile(r"[0-9a-f]{32}")
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("ids")
    write_bundle(folder / "models" / "voice")
    limits = {"api_key": KEY, "max_body_mib": 1, "allowed_origins": ("https://a.example",)}
    with serving(small_settings(folder, **limits)) as running:
        yield running


def ask(server: SmallServer, method: str, path: str, key: str = KEY, given: str | None = None, **more: Any):
    headers = {"Authorization": f"Bearer {key}"} | ({} if given is None else {"X-Request-ID": given})
    return requests.request(method, server.url + path, headers=headers | more.pop("headers", {}), timeout=60, **more)


@pytest.mark.parametrize(
    ("method", "path", "more", "status"),
    [
        ("GET", "/v1/models", {}, 200),
        ("GET", "/healthz", {}, 200),
        ("GET", "/readyz", {}, 200),
        ("GET", "/metrics", {}, 200),
        ("GET", "/v1/subjects/nobody", {}, 404),
        ("GET", "/v1/nothing", {}, 404),
        ("PUT", "/v1/models", {}, 405),
        ("GET", "/v1/models", {"key": "wrong-0123456789"}, 401),
        ("POST", "/v1/embed", {"data": b"x" * (2 << 20)}, 413),
        ("POST", "/v1/embed", {"data": b"x"}, 415),
        ("GET", "/v1/models", {"headers": {"Origin": "https://b.example", "Sec-Fetch-Site": "cross-site"}}, 200),
    ],
)
def test_answer_of_any_kind_has_an_id_that_its_problem_repeats(
    server: SmallServer, method: str, path: str, more: dict[str, Any], status: int
):
    answer = ask(server, method, path, **more)
    assert answer.status_code == status
    found = answer.headers["X-Request-ID"]
    assert OWN.fullmatch(found)
    assert answer.headers["Matchka-Request-Id"] == found
    if status >= 400:
        assert answer.json()["request_id"] == found
    assert ask(server, method, path, **more).headers["X-Request-ID"] != found


def test_browsers_page_of_another_origin_may_send_and_read_the_id(server: SmallServer):
    origin = {"Origin": "https://a.example"}
    wanted = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-request-id"}
    asked = requests.options(server.url + "/v1/models", headers=origin | wanted, timeout=TIMEOUT_S)
    assert asked.ok
    assert OWN.fullmatch(asked.headers["X-Request-ID"])
    answer = ask(server, "GET", "/v1/models", headers=origin)
    assert "X-Request-ID" in answer.headers["Access-Control-Expose-Headers"].split(", ")


@pytest.mark.parametrize("given", ["a", "x" * 128, "trace-1_2.3~4:5/6@7+8=9"])
def test_id_of_the_caller_that_is_safe_is_taken_over(server: SmallServer, given: str):
    answer = ask(server, "GET", "/v1/subjects/nobody", given=given)
    assert (answer.headers["X-Request-ID"], answer.json()["request_id"]) == (given, given)
    assert OWN.fullmatch(answer.headers["Matchka-Request-Id"])


@pytest.mark.parametrize(
    "given", ["", "x" * 129, "a b", "a\tb", '"', "<script>", "a,b", "{}", "a\\n", "$(id)", "\xe9", "a;b", "%0a", "'"]
)
def test_id_of_the_caller_that_is_not_safe_is_replaced(server: SmallServer, given: str):
    answer = ask(server, "GET", "/v1/subjects/nobody", given=given)
    assert OWN.fullmatch(answer.headers["X-Request-ID"])
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


def test_answers_of_the_health_listener_have_ids(settings: Settings):
    app = create_health_app(settings, create_app(settings).state.service)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert OWN.fullmatch(client.get("/healthz").headers["X-Request-ID"])
        refused = client.get("/readyz", headers={"X-Request-ID": "probe-7"})
    assert (refused.status_code, refused.headers["X-Request-ID"]) == (503, "probe-7")
    assert refused.json()["request_id"] == "probe-7"


def test_refusals_of_requests_too_many_have_an_id_each():
    answers: list[tuple[str, str]] = []

    async def ask_again(scope: Scope, receive: Receive, _send: Send) -> None:
        for _ in range(2):
            await app(scope, receive, collecting())

    def collecting() -> Send:
        head: dict[str, str] = {}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                head.update({name.decode(): value.decode() for name, value in message["headers"]})
            elif message.get("body"):
                answers.append((head["x-request-id"], json.loads(message["body"])["request_id"]))

        return send

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    app = RequestIds(Refusals(InFlightLimit(ask_again, max_in_flight=1), max_body_mib=1))
    scope = {"type": "http", "method": "GET", "path": "/v1/models", "headers": []}
    asyncio.run(app(scope, receive, collecting()))
    assert [in_head == in_body for in_head, in_body in answers] == [True, True]
    assert answers[0] != answers[1]


def test_failure_that_nobody_expected_is_answered_and_logged_with_the_id(caplog: pytest.LogCaptureFixture):
    app = FastAPI()

    @app.get("/v1/broken")
    def broken() -> None:
        raise ZeroDivisionError("eva-maria-7")

    app.add_middleware(RequestIds)
    with TestClient(app) as client:
        answer = client.get("/v1/broken", headers={"X-Request-ID": "case-1"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert (answer.headers["X-Request-ID"], answer.json()["request_id"]) == ("case-1", "case-1")
    assert "eva" not in answer.text
    (record,) = [one for one in caplog.records if one.name == "matchka.requests"]
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_failure_after_the_answer_began_leaves_the_connection_to_the_server():
    sent = []

    async def half(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(RequestIds(half)(scope, None, send))
    assert sent == ["http.response.start"]
