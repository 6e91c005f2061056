"""How long a request is worked for: deadlines, and clients that leave."""

import asyncio
import json
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import Request
from starlette.requests import ClientDisconnect

from matchka.api.dependencies import Caller, ServiceState
from matchka.api.guards.key_ring import KeyRing
from matchka.api.problems import problem_response
from matchka.errors import ClientGoneError, DeadlinePassedError
from matchka.runtime.deadline import Deadline, current_deadline, working_for
from matchka.settings import Settings
from matchka.store.keys.records import KEYLESS

LONG_S = 120.0


@pytest.fixture
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


class Client:
    """The far end of a connection: silent until it leaves."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}


def caller(settings: Settings, workers: ThreadPoolExecutor, client: Client, timeout_s: float) -> Caller:
    state = ServiceState(KeyRing(settings), workers, timeout_s)
    request = Request({"type": "http", "headers": []}, client.receive)
    return Caller(KEYLESS, None, None, None, state, request)  # type: ignore[arg-type]


def test_deadline_cancels_after_its_seconds_and_not_before():
    now = 100.0
    deadline = Deadline(5.0, lambda: now)
    assert deadline.remaining_s == 5.0
    now = 104.999
    deadline.require()
    now = 105.0
    assert deadline.remaining_s == 0.0
    with pytest.raises(DeadlinePassedError, match="within 5 s"):
        deadline.require()
    now = 200.0
    assert deadline.remaining_s == 0.0


def test_deadline_without_end_cancels_only_when_the_client_leaves():
    deadline = Deadline(clock=lambda: 1e300)
    assert deadline.remaining_s is None
    assert deadline.cancellation is None
    deadline.cancel()
    with pytest.raises(ClientGoneError):
        deadline.require()


def test_working_for_tells_the_thread_whom_it_works_for_until_the_block_ends():
    outer, inner = Deadline(LONG_S), Deadline(LONG_S)
    assert current_deadline().remaining_s is None
    with working_for(outer):
        with working_for(inner):
            assert current_deadline() is inner
        assert current_deadline() is outer
        other: list[Deadline] = []
        thread = threading.Thread(target=lambda: other.append(current_deadline()))
        thread.start()
        thread.join()
        assert other[0] is not outer
    assert current_deadline() is not outer


def test_working_for_a_request_that_is_over_does_not_begin():
    deadline = Deadline(LONG_S)
    deadline.cancel()
    with pytest.raises(ClientGoneError), working_for(deadline):
        pytest.fail("it began")


def test_run_hands_over_the_result_and_the_error(settings: Settings, workers: ThreadPoolExecutor):
    async def scenario() -> None:
        run = caller(settings, workers, Client(), LONG_S).run
        assert await run(lambda: 7) == 7
        remaining_s = await run(lambda: current_deadline().remaining_s)
        assert remaining_s is not None
        assert 0 < remaining_s <= LONG_S
        with pytest.raises(ZeroDivisionError):
            await run(lambda: 1 // 0)

    asyncio.run(scenario())


def occupy(workers: ThreadPoolExecutor) -> threading.Event:
    release, began = threading.Event(), threading.Event()

    def hold() -> None:
        began.set()
        release.wait(LONG_S)

    workers.submit(hold)
    assert began.wait(LONG_S)
    return release


def test_run_that_waits_for_a_worker_beyond_its_deadline_is_refused_and_never_begins(
    settings: Settings, workers: ThreadPoolExecutor
):
    async def scenario() -> None:
        release = occupy(workers)
        with pytest.raises(DeadlinePassedError) as refused:
            await caller(settings, workers, Client(), 0.02).run(lambda: calls.append(1))
        release.set()
        response = problem_response(refused.value)
        assert (response.status_code, json.loads(response.body)["code"]) == (503, "deadline_passed")
        assert int(response.headers["retry-after"]) >= 1

    calls: list[int] = []
    asyncio.run(scenario())
    workers.submit(int).result(LONG_S)  # whatever was queued before it has had its turn
    assert calls == []


def test_run_whose_client_leaves_while_it_waits_never_begins(settings: Settings, workers: ThreadPoolExecutor):
    async def scenario() -> None:
        release = occupy(workers)
        client = Client()
        task = asyncio.create_task(caller(settings, workers, client, LONG_S).run(lambda: calls.append(1)))
        await asyncio.sleep(0)
        client.left.set()
        with pytest.raises(ClientDisconnect):
            await task
        release.set()

    calls: list[int] = []
    asyncio.run(scenario())
    workers.submit(int).result(LONG_S)
    assert calls == []


@pytest.mark.parametrize("leave", ["client", "server"])
def test_run_whose_end_nobody_awaits_any_more_says_so_to_the_worker(
    settings: Settings, workers: ThreadPoolExecutor, leave: str
):
    async def scenario() -> None:
        client = Client()
        task = asyncio.create_task(caller(settings, workers, client, LONG_S).run(work))
        assert await asyncio.get_running_loop().run_in_executor(None, began.wait, LONG_S)
        if leave == "client":
            client.left.set()
        else:
            task.cancel()
        with pytest.raises((ClientDisconnect, asyncio.CancelledError)):
            await task
        may_go_on.set()

    def work() -> None:
        began.set()
        may_go_on.wait(LONG_S)
        cancellations.append(type(current_deadline().cancellation))

    began, may_go_on = threading.Event(), threading.Event()
    cancellations: list[type] = []
    asyncio.run(scenario())
    workers.submit(int).result(LONG_S)
    assert cancellations == [ClientGoneError]


def test_run_leaves_no_task_behind(settings: Settings, workers: ThreadPoolExecutor):
    async def scenario() -> None:
        run: Callable[..., Any] = caller(settings, workers, Client(), math.inf).run
        for _ in range(3):
            await run(lambda: None)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())
