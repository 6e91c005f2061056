"""Refusals of one tenant that come one upon the other wait, within bounds, and nobody else's do."""

import asyncio

import pytest

from matchka.api.guards.refusal_pace import FREE, INTERVAL_S, MOST_WAITING, MOST_WAITING_OF_ONE, RefusalPace
from tests.factories.sleeper import Sleeper, installed, until


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def sleeper(monkeypatch: pytest.MonkeyPatch) -> Sleeper:
    return installed(monkeypatch)


def test_wait_of_ten_refusals_in_a_row_is_none_and_of_the_next_as_long_as_retry_after(sleeper: Sleeper):
    async def scenario() -> None:
        pace = RefusalPace(Clock())
        assert [await pace.wait("a") for _ in range(FREE)] == [True] * FREE
        assert sleeper.asked_s == []
        sleeper.woken.set()
        assert await pace.wait("a")
        assert sleeper.asked_s == [1.0]
        assert await pace.wait("b")
        assert sleeper.asked_s == [1.0]

    asyncio.run(scenario())


def test_wait_of_refusals_at_the_rate_that_is_allowed_is_never_any(sleeper: Sleeper):
    async def scenario() -> None:
        clock = Clock()
        pace = RefusalPace(clock)
        for _ in range(100):
            assert await pace.wait("a")
            clock.now += 1.001 * INTERVAL_S
        assert sleeper.asked_s == []

    asyncio.run(scenario())


def test_wait_beyond_as_many_as_may_is_refused_at_once_and_leaves_room_for_others(sleeper: Sleeper):
    async def scenario() -> None:
        pace = RefusalPace(Clock())
        for tenant in ("a", "b"):
            for _ in range(FREE):
                await pace.wait(tenant)
        waiting = [asyncio.ensure_future(pace.wait("a")) for _ in range(MOST_WAITING_OF_ONE)]
        await until(lambda: len(sleeper.asked_s) == MOST_WAITING_OF_ONE, waiting)
        assert not await pace.wait("a")
        more = [asyncio.ensure_future(pace.wait("b")) for _ in range(MOST_WAITING - MOST_WAITING_OF_ONE)]
        await until(lambda: len(sleeper.asked_s) == MOST_WAITING, more)
        assert not await pace.wait("b")
        sleeper.woken.set()
        assert all(await asyncio.gather(*waiting, *more))
        assert await pace.wait("a")  # it waits, and there is room again

    asyncio.run(scenario())


def test_wait_that_is_given_up_leaves_its_place(sleeper: Sleeper):
    async def scenario() -> None:
        pace = RefusalPace(Clock())
        for _ in range(FREE):
            await pace.wait("a")
        waiting = [asyncio.ensure_future(pace.wait("a")) for _ in range(MOST_WAITING_OF_ONE)]
        await until(lambda: len(sleeper.asked_s) == MOST_WAITING_OF_ONE, waiting)
        for one in waiting:
            one.cancel()
        await asyncio.wait(waiting)
        sleeper.woken.set()
        assert await pace.wait("a")

    asyncio.run(scenario())
