"""Admission, driven directly as ASGI: bodies that stream, that announce themselves, and too many at once."""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from matchka.api.guards import middleware as middleware
from matchka.api.guards.account import note_tenant
from matchka.api.guards.middleware import LINGER_BODIES, MIB, Refusals
from matchka.api.guards.refusal_pace import RefusalPace
from matchka.errors import OverloadedError
from matchka.runtime import unread_body
from matchka.runtime.load_shedding import LoadShedder

LIMIT = MIB  # of every body_limit below


def body_limit(app: Any, max_body_mib: float, max_bodies_mib: float = math.inf) -> Refusals:
    """The limit with what answers for it."""
    return Refusals(middleware.BodyLimit(app, max_body_mib, max_bodies_mib), max_body_mib)


def in_flight_limit(app: Any, max_in_flight: int, load_shedder: LoadShedder | None = None) -> Refusals:
    """The limit with what answers for it."""
    return Refusals(middleware.InFlightLimit(app, max_in_flight, load_shedder), 1.0)


@dataclass
class Connection:
    """A client that sends chunks of a body, and what the server answered it."""

    chunks: list[bytes]
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    path: str = "/v1/embed"
    hangs_after: bool = False  # never says that the body ends
    then_silent: bool = False  # neither sends more nor leaves when the body has ended
    sent: list[dict[str, Any]] = field(default_factory=list)
    read: int = 0

    async def receive(self) -> dict[str, Any]:
        if self.read < len(self.chunks):
            self.read += 1
            more = self.hangs_after or self.read < len(self.chunks)
            return {"type": "http.request", "body": self.chunks[self.read - 1], "more_body": more}
        if self.hangs_after or self.then_silent:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def run(self, app: Any, tenant: str | None = None) -> None:
        scope = {"type": "http", "method": "POST", "path": self.path, "headers": self.headers}
        if tenant is not None:
            note_tenant(scope, tenant)
        asyncio.run(app(scope, self.receive, self.send))

    @property
    def status(self) -> int:
        starts = [message["status"] for message in self.sent if message["type"] == "http.response.start"]
        assert len(starts) == 1, self.sent
        return starts[0]

    @property
    def body(self) -> bytes:
        last = self.sent[-1]
        assert last["type"] == "http.response.body"
        assert not last.get("more_body", False)
        return b"".join(message.get("body", b"") for message in self.sent)


@dataclass
class CountingApp:
    """Reads the whole body and answers its length."""

    calls: int = 0
    received: int = 0

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        self.calls += 1
        more = True
        while more:
            message = await receive()
            self.received += len(message.get("body", b""))
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(self.received).encode()})


CHUNKED = [(b"transfer-encoding", b"chunked")]


def length(count: int | str) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", str(count).encode())]


def refusal(connection: Connection) -> dict[str, Any]:
    assert connection.status == 413
    problem: dict[str, Any] = json.loads(connection.body)
    assert problem["code"] == "body_too_large"
    assert "1 MiB" in problem["detail"]
    return problem


@pytest.mark.parametrize("sizes", [[], [0], [LIMIT], [LIMIT // 2, LIMIT // 2], [1] * 100])
@pytest.mark.parametrize("announced", [True, False])
def test_body_up_to_the_limit_reaches_the_application_whole(sizes: list[int], announced: bool):
    app = CountingApp()
    connection = Connection([bytes(size) for size in sizes], length(sum(sizes)) if announced else [])
    connection.run(body_limit(app, 1.0))
    assert connection.status == 200
    assert connection.body == str(sum(sizes)).encode()


@pytest.mark.parametrize("announced", [LIMIT + 1, 10**18])
def test_body_announced_beyond_the_limit_is_refused_before_the_application_starts(announced: int):
    app = CountingApp()
    connection = Connection([bytes(1000)], length(announced))
    connection.run(body_limit(app, 1.0))
    assert refusal(connection)["value"] == f"{announced} bytes"
    assert app.calls == 0


@pytest.mark.parametrize("headers", [CHUNKED, length(10)], ids=["no length", "a length that lies"])
def test_body_that_streams_beyond_the_limit_is_refused_when_it_passes_it(headers: list[tuple[bytes, bytes]]):
    app = CountingApp()
    connection = Connection([bytes(LIMIT // 4)] * 20, headers)
    connection.run(body_limit(app, 1.0))
    assert refusal(connection)["value"] == f"more than {LIMIT} bytes"
    assert app.received <= LIMIT


def test_refused_body_is_drained_up_to_its_end_so_that_the_client_reads_the_answer():
    connection = Connection([bytes(LIMIT // 4)] * 12, length(3 * LIMIT))
    connection.run(body_limit(CountingApp(), 1.0))
    refusal(connection)
    assert connection.read == 12


def test_refused_body_without_end_is_drained_only_so_far():
    connection = Connection([bytes(LIMIT // 4)] * 1000, CHUNKED)
    connection.run(body_limit(CountingApp(), 1.0))
    refusal(connection)
    assert connection.read * (LIMIT // 4) <= (2 + LINGER_BODIES) * LIMIT


def test_refusal_behind_as_many_as_may_wait_reads_nothing_and_ends_the_connection(monkeypatch: pytest.MonkeyPatch):
    async def never(_pace: RefusalPace, _tenant: str) -> bool:
        return False

    monkeypatch.setattr(RefusalPace, "wait", never)
    connection = Connection([bytes(LIMIT // 4)] * 12, length(3 * LIMIT))
    connection.run(body_limit(CountingApp(), 1.0), tenant="greedy")
    refusal(connection)
    assert connection.read <= 1
    assert (b"connection", b"close") in connection.sent[0]["headers"]


def test_refusal_of_a_request_whose_body_was_read_ends_at_once_and_keeps_the_connection():
    async def overloaded(_scope: Any, receive: Any, _send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        raise middleware.Refused(OverloadedError("too much", remedy="Try again."))

    connection = Connection([bytes(LIMIT)] * 2, length(2 * LIMIT), then_silent=True)
    connection.run(Refusals(overloaded, 2.0))  # reading on would never end
    assert connection.status == 503
    assert (b"connection", b"close") not in connection.sent[0]["headers"]


def test_refused_client_that_goes_silent_is_answered_after_the_linger(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unread_body, "LINGER_S", 0.05)
    connection = Connection([bytes(LIMIT + 1)], CHUNKED, hangs_after=True)
    connection.run(body_limit(CountingApp(), 1.0))
    refusal(connection)


def test_refusal_passes_through_an_application_that_catches_every_exception():
    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        try:
            await CountingApp()(scope, receive, send)
        except Exception:
            pytest.fail("the application saw the refusal")

    connection = Connection([bytes(LIMIT)] * 3)
    connection.run(body_limit(stubborn, 1.0))
    refusal(connection)


@pytest.mark.parametrize("announced", [True, False])
def test_bodies_that_together_pass_the_limit_are_answered_503_until_others_end(announced: bool):
    async def scenario() -> None:
        release = asyncio.Event()

        async def app(_scope: Any, receive: Any, send: Any) -> None:
            while (await receive()).get("more_body"):
                pass
            await release.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        limited = body_limit(app, 1.0, 1.5)
        half = LIMIT // 2

        def body_of(size: int) -> tuple[Connection, Any]:
            connection = Connection([bytes(size // 2), bytes(size // 2)], length(size) if announced else [])
            scope = {"type": "http", "method": "POST", "path": "/v1/embed", "headers": connection.headers}
            return connection, limited(scope, connection.receive, connection.send)

        inside = [body_of(size) for size in (LIMIT, half)]
        tasks = [asyncio.create_task(call) for _, call in inside]
        await asyncio.sleep(0.01)
        beyond, call = body_of(2)
        await call
        assert beyond.status == 503
        assert json.loads(beyond.body)["code"] == "overloaded"
        assert (b"retry-after", b"1") in beyond.sent[0]["headers"]
        release.set()
        await asyncio.gather(*tasks)
        assert [connection.status for connection, _ in inside] == [200, 200]
        later, call = body_of(LIMIT)
        await call
        assert later.status == 200

    asyncio.run(scenario())


def test_body_beyond_the_limit_of_all_bodies_is_let_in_alone():
    app = CountingApp()
    connection = Connection([bytes(LIMIT)])
    connection.run(body_limit(app, 1.0, 0.1))
    assert connection.status == 200
    assert app.received == LIMIT


def test_request_while_those_before_would_take_too_long_is_answered_503():
    now = [0.0]
    load_shedder = LoadShedder(10.0, lambda: now[0])
    app = CountingApp()
    limited = in_flight_limit(app, 100, load_shedder)
    waiting = ExitStack()
    for _ in range(20):
        waiting.enter_context(load_shedder.at_work())  # nothing is known yet of how long they take
    ends = [waiting.pop_all()]
    with load_shedder.at_work():
        now[0] += 60.0
    connection = Connection([b""])
    connection.run(limited)
    assert connection.status == 503
    assert json.loads(connection.body)["code"] == "overloaded"
    assert app.calls == 0
    ends[0].close()
    again = Connection([b""])
    again.run(limited)
    assert again.status == 200


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_other_scopes_pass_both_limits_untouched(kind: str):
    seen: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    for limited in (body_limit(app, 1.0), in_flight_limit(app, 0)):
        asyncio.run(limited({"type": kind}, None, None))
    assert seen == [kind, kind]


async def occupied(limited: Refusals, count: int, release: asyncio.Event) -> AsyncIterator[list[Connection]]:
    connections = [Connection([b""]) for _ in range(count)]
    scope = {"type": "http", "method": "POST", "path": "/v1/embed", "headers": []}
    tasks = [asyncio.create_task(limited(scope, c.receive, c.send)) for c in connections]
    await asyncio.sleep(0.01)
    yield connections
    release.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("limit", [1, 5])
def test_requests_beyond_the_limit_are_answered_503_until_others_end(limit: int):
    async def scenario() -> None:
        release = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await release.wait()
            await CountingApp()(scope, receive, send)

        limited = in_flight_limit(app, limit)
        scope = {"type": "http", "method": "POST", "path": "/v1/embed", "headers": []}
        health = {**scope, "path": "/healthz"}
        async for inside in occupied(limited, limit, release):
            beyond, probe = Connection([b""]), Connection([b""])
            await limited(scope, beyond.receive, beyond.send)
            assert beyond.status == 503
            assert json.loads(beyond.body)["code"] == "overloaded"
            assert (b"retry-after", b"1") in beyond.sent[0]["headers"]
            assert [c.sent for c in inside] == [[]] * limit
            # health is answered whatever the load
            task = asyncio.create_task(limited(health, probe.receive, probe.send))
        await task
        assert probe.status == 200
        assert [c.status for c in inside] == [200] * limit
        later = Connection([b"abc"])
        await limited(scope, later.receive, later.send)
        assert later.body == b"3"

    asyncio.run(scenario())


def test_requests_that_fail_give_their_place_back():
    async def failing(_scope: Any, _receive: Any, _send: Any) -> None:
        raise ZeroDivisionError

    limited = in_flight_limit(failing, 1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            Connection([b""]).run(limited)


@pytest.mark.parametrize(
    ("headers", "drained"),
    [
        ([], 0),
        (length(0), 0),
        (length(middleware.LEFT_TO_SERVER_BYTES), 0),
        (length(middleware.LEFT_TO_SERVER_BYTES + 1), 3),
        ([*length(10), (b"connection", b"Close")], 3),
        ([*length(10), (b"expect", b"100-continue")], 3),
        ([(b"transfer-encoding", b"chunked")], 3),
    ],
)
def test_refusal_closes_the_connection_where_the_server_cannot_be_left_with_the_rest(
    headers: list[tuple[bytes, bytes]], drained: int
):
    connection = Connection([b"abc"] * 3, headers)
    connection.run(in_flight_limit(CountingApp(), 0))
    assert connection.status == 503
    assert connection.read == drained
    assert ((b"connection", b"close") in connection.sent[0]["headers"]) == (drained > 0)
    assert json.loads(connection.body)["code"] == "overloaded"


def test_refusal_that_lingers_holds_no_place_and_is_not_counted(monkeypatch: pytest.MonkeyPatch):
    """Bodies that are announced, or stream, beyond the limit, and whose clients go silent."""
    monkeypatch.setattr(unread_body, "LINGER_S", 60.0)

    async def scenario() -> None:
        app = CountingApp()
        limits = Refusals(middleware.InFlightLimit(middleware.BodyLimit(app, 1.0, 1.0), 1), 1.0)
        announced = Connection([], length(99_999_999), hangs_after=True)
        streamed = Connection([bytes(LIMIT + 1)], CHUNKED, hangs_after=True)
        tasks = []
        for silent in (announced, streamed):
            scope = {"type": "http", "method": "POST", "path": silent.path, "headers": silent.headers}
            tasks.append(asyncio.create_task(limits(scope, silent.receive, silent.send)))
            await asyncio.sleep(0.01)
            assert silent.status == 413
            assert not tasks[-1].done()
        honest = Connection([bytes(LIMIT)], length(LIMIT))
        await limits({**scope, "headers": honest.headers}, honest.receive, honest.send)
        assert honest.status == 200
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(scenario())


def of_account(key: str, *, announced: int | None = None, size: int = 0, hangs: bool = False) -> Connection:
    headers = [(b"authorization", f"Bearer {key}".encode())]
    return Connection([bytes(size)] * (size > 0), headers + (length(announced) if announced else []), hangs_after=hangs)


async def begun(limited: Refusals, connection: Connection) -> asyncio.Task[None]:
    scope = {"type": "http", "method": "POST", "path": connection.path, "headers": connection.headers}
    task = asyncio.create_task(limited(scope, connection.receive, connection.send))
    await asyncio.sleep(0.01)
    return task


def test_requests_of_one_account_leave_places_to_another():
    async def scenario() -> None:
        limited = in_flight_limit(CountingApp(), 16)
        hanging = [of_account("busy", hangs=True) for _ in range(20)]
        tasks = [await begun(limited, connection) for connection in hanging]
        assert [connection.status for connection in hanging if connection.sent] == [503] * 4
        for spelling in ("busy", " busy", "busy "):
            refused = of_account(spelling)
            await (await begun(limited, refused))
            assert refused.status == 503
        other = of_account("other", size=3)
        await (await begun(limited, other))
        assert other.body == b"3"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        again = of_account("busy", size=3)
        await (await begun(limited, again))
        assert again.status == 200

    asyncio.run(scenario())


def test_bodies_that_are_announced_and_never_come_take_room_from_their_own_account_only():
    async def scenario() -> None:
        limited = body_limit(CountingApp(), 1.0, 2.0)
        false = [of_account("busy", announced=LIMIT, size=3, hangs=True) for _ in range(16)]
        tasks = [await begun(limited, connection) for connection in false]
        assert [connection.status for connection in false if connection.sent] == [503] * 14
        other = of_account("other", announced=LIMIT, size=LIMIT)
        await (await begun(limited, other))
        assert other.status == 200
        for headers in (length(1), []):  # announced, or counted as it arrives
            refused = of_account("busy", size=1)
            refused.headers += headers
            await (await begun(limited, refused))
            assert refused.status == 503
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        again = of_account("busy", announced=LIMIT, size=LIMIT)
        await (await begun(limited, again))
        assert again.status == 200

    asyncio.run(scenario())


def test_announced_bodies_of_several_accounts_that_come_after_all_are_bounded_together():
    """Twelve MiB are let in by their heads, while nothing is here; of what then comes, two and a quarter may stay."""

    async def scenario() -> None:
        come, arrived = asyncio.Event(), [0]

        async def app(_scope: Any, receive: Any, _send: Any) -> None:
            await receive()
            await come.wait()
            arrived[0] += len((await receive())["body"])
            await asyncio.Event().wait()

        limited = body_limit(app, 1.0, 2.0)
        held = [of_account(key, announced=LIMIT - 100, size=3, hangs=True) for key in "aabbccddeeff"]
        for connection in held:
            connection.chunks.append(bytes(LIMIT // 2))  # and the rest never
        tasks = [await begun(limited, connection) for connection in held]
        assert [connection.sent for connection in held] == [[]] * 12
        come.set()
        await asyncio.sleep(0.01)
        refused = [connection.status for connection in held if connection.sent]
        assert refused == [503] * 8
        assert arrived[0] == 2 * LIMIT
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(scenario())


def test_bodies_of_one_account_that_arrived_leave_room_for_another():
    async def scenario() -> None:
        limited = body_limit(CountingApp(), 1.0, 8.0)
        held = [of_account("busy", announced=LIMIT, size=LIMIT - 1, hangs=True) for _ in range(10)]
        tasks = [await begun(limited, connection) for connection in held]
        assert [connection.status for connection in held if connection.sent] == [503] * 2
        other = of_account("other", announced=LIMIT // 2, size=LIMIT // 2)
        await (await begun(limited, other))
        assert other.status == 200
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(scenario())
