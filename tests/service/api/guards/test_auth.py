"""API keys, and what becomes of a request without one."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI

from matchka.api.guards.account import account_of
from matchka.api.guards.auth import MOST_WAITING, MOST_WAITING_OF_ONE, KeyGate
from matchka.api.guards.failed_keys import FREE, FailedKeys
from matchka.api.guards.key_ring import KeyRing
from matchka.api.guards.middleware import Refusals, Refused
from matchka.app import create_app, create_health_app
from matchka.errors import UnauthorizedError
from matchka.runtime.fairness.account import Account
from matchka.settings import Settings, read_settings
from matchka.store.keys.records import DEFAULT_TENANT, FIRST, KEYLESS
from tests.factories.sleeper import Sleeper, installed, until

KEY = "correct horse battery staple"
REFUSALS_AHEAD = 100


@pytest.fixture
def sleeper(monkeypatch: pytest.MonkeyPatch) -> Sleeper:
    return installed(monkeypatch)


@pytest.fixture
def keys() -> KeyRing:
    return KeyRing(read_settings({"MATCHKA_API_KEY": KEY}))


@pytest.mark.parametrize("header", [None, "", "Bearer anything", "Basic dXNlcjpwYXNz"])
def test_grant_of_any_caller_without_keys_in_force_is_everything(header: str | None):
    assert KeyRing(read_settings({})).grant_of(header) == KEYLESS


@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER   {KEY}  "])
def test_grant_of_a_caller_with_the_first_key_is_everything(keys: KeyRing, header: str):
    assert keys.grant_of(header) == FIRST


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        KEY,
        f"Basic {KEY}",
        f"Token {KEY}",
        f"Bearer{KEY}",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY.upper()}",
        f"Bearer {KEY} {KEY}",
        "Bearer \xff\xfe",
    ],
)
def test_grant_of_a_caller_without_the_key_is_refused_without_repeating_it(keys: KeyRing, header: str | None):
    with pytest.raises(UnauthorizedError) as refused:
        keys.grant_of(header)
    assert refused.value.value is None
    assert KEY not in str(refused.value)


class CountingApp:
    calls = 0

    async def __call__(self, _scope: Any, _receive: Any, _send: Any) -> None:
        self.calls += 1


async def never(*_given: Any) -> Any:
    raise AssertionError("a body was read, or an answer sent")


def scope_of(path: str, key: str | None, client: tuple[str, int] | None = ("192.0.2.1", 1)) -> dict[str, Any]:
    headers = [] if key is None else [(b"authorization", f"Bearer {key}".encode())]
    return {"type": "http", "method": "POST", "path": path, "headers": headers, "client": client}


DOCS = ["/openapi.json", "/docs", "/docs/", "/docs/start.js", "/docs/\n"]


@pytest.mark.parametrize("path", ["/v1/embed", "/v1/subjects/ada", "/v1/", "/metrics", *DOCS])
@pytest.mark.parametrize("client", [("192.0.2.1", 1), None])
def test_request_without_a_valid_key_is_refused_before_its_body_is_read(
    keys: KeyRing, path: str, client: tuple[str, int] | None
):
    app = CountingApp()
    gate = KeyGate(app, keys, FailedKeys())
    for key in (None, "wrong"):
        with pytest.raises(Refused) as refused:
            asyncio.run(gate(scope_of(path, key, client), never, never))
        assert refused.value.response.status_code == 401
    assert app.calls == 0
    asyncio.run(gate(scope_of(path, KEY, client), never, never))
    assert app.calls == 1


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_open_without_a_key(keys: KeyRing, path: str):
    app = CountingApp()
    asyncio.run(KeyGate(app, keys, FailedKeys())(scope_of(path, None), never, never))
    assert app.calls == 1


@pytest.mark.parametrize("path", DOCS)
def test_docs_are_open_without_a_key_where_the_settings_say_so(keys: KeyRing, path: str):
    app = CountingApp()
    asyncio.run(KeyGate(app, keys, FailedKeys(), guards_docs=False)(scope_of(path, None), never, never))
    assert app.calls == 1


async def status_of(app: FastAPI, path: str) -> int:
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = scope_of(path, "wrong") | {"query_string": b"", "root_path": "", "http_version": "1.1"}
    scope["headers"].append((b"host", b"localhost"))
    await app(scope, receive, send)
    return statuses[0]


@pytest.mark.parametrize("is_health", [False, True])
def test_wrong_keys_are_slowed_on_every_path_that_needs_a_key(settings: Settings, is_health: bool, sleeper: Sleeper):
    keyed = Settings(**{**settings.model_dump(), "api_key": KEY.replace(" ", "-")})
    main = create_app(keyed)
    app = create_health_app(keyed, main.state.service) if is_health else main
    paths = ["/metrics"] if is_health else ["/metrics", "/v1/embed", "/v1/subjects/ada", *DOCS[:-1]]

    async def scenario() -> None:
        sleeper.woken.set()
        for _ in range(FREE + REFUSALS_AHEAD):  # so that a slow machine gives nothing back before the last path
            assert await status_of(app, "/metrics") == 401
        for path in paths:
            slept = len(sleeper.asked_s)
            assert await status_of(app, path) == 401
            assert len(sleeper.asked_s) == slept + 1, path

    asyncio.run(scenario())


def test_caller_with_the_key_is_served_while_the_refusals_of_its_own_address_wait(keys: KeyRing, sleeper: Sleeper):
    async def scenario() -> None:
        app = CountingApp()
        gate = KeyGate(app, keys, FailedKeys(lambda: 0.0))
        tasks = [asyncio.create_task(gate(scope_of("/v1/embed", "wrong"), never, never)) for _ in range(FREE + 20)]
        await until(lambda: len(sleeper.asked_s) == 20 and all(task.done() for task in tasks[:FREE]), tasks)
        await gate(scope_of("/v1/embed", KEY), never, never)
        assert app.calls == 1
        assert not any(task.done() for task in tasks[FREE:])
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, Refused | asyncio.CancelledError) for one in ended)

    asyncio.run(scenario())


def test_request_with_a_key_belongs_to_its_tenant(keys: KeyRing):
    async def tell(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(account_of(scope))

    seen: list[Account] = []
    asyncio.run(KeyGate(tell, keys, FailedKeys())(scope_of("/v1/embed", KEY), never, never))
    assert [account.tenant for account in seen] == [DEFAULT_TENANT]
    assert KEY not in seen[0].name


async def waiting_and_hung_up(addresses: list[str], sleeper: Sleeper) -> tuple[int, int]:
    """Of the refusals of so many requests at one moment, those that wait, and those that get no answer."""
    gate = KeyGate(CountingApp(), KeyRing(read_settings({"MATCHKA_API_KEY": KEY})), FailedKeys(lambda: 0.0))
    scopes = [scope_of("/v1/embed", "wrong", (address, 1)) for address in addresses]
    tasks = [asyncio.create_task(gate(scope, never, never)) for scope in scopes]
    await until(lambda: sum(task.done() for task in tasks) + len(sleeper.asked_s) == len(tasks), tasks)
    waiting = sum(not task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    return waiting, sum(isinstance(one, Refused) and one.hangs_up for one in ended)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_refusals_of_one_network_beyond_its_share_of_those_that_wait_get_no_answer(address: str, sleeper: Sleeper):
    count = FREE + MOST_WAITING_OF_ONE + 50
    assert asyncio.run(waiting_and_hung_up([address] * count, sleeper)) == (MOST_WAITING_OF_ONE, 50)


def test_refusals_of_many_networks_beyond_those_that_may_wait_get_no_answer(sleeper: Sleeper):
    networks = MOST_WAITING // MOST_WAITING_OF_ONE + 2
    addresses = [f"192.0.2.{number}" for number in range(networks) for _ in range(FREE + MOST_WAITING_OF_ONE)]
    beyond = networks * MOST_WAITING_OF_ONE - MOST_WAITING
    assert asyncio.run(waiting_and_hung_up(addresses, sleeper)) == (MOST_WAITING, beyond)


def test_refusal_that_cannot_hang_up_is_answered_and_the_connection_closed():
    sent: list[Any] = []

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise Refused(UnauthorizedError("The API key is not known.", remedy="Check it."), hangs_up=True)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Refusals(app, 1.0)(scope_of("/v1/embed", None), receive, send))
    assert sent[0]["status"] == 401
    assert (b"connection", b"close") in sent[0]["headers"]
