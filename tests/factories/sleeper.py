"""asyncio.sleep that nobody's clock ends: who sleeps is counted, and woken by the test."""

import asyncio
from collections.abc import Callable, Collection

import pytest

BOUND_S = 60.0
POLL_S = 0.001


class Sleeper:
    """Stands in for asyncio.sleep.

    Attributes:
        asked_s: seconds of every sleep that was begun, in order.
        woken: ends them all.
    """

    def __init__(self) -> None:
        self.asked_s: list[float] = []
        self.woken = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asked_s.append(seconds)
        await self.woken.wait()


def installed(monkeypatch: pytest.MonkeyPatch) -> Sleeper:
    """A sleeper in place of asyncio.sleep, in every module."""
    found = Sleeper()
    monkeypatch.setattr(asyncio, "sleep", found.sleep)
    return found


async def until(holds: Callable[[], bool], tasks: Collection[asyncio.Task]) -> None:
    """Let tasks run until something holds, which it must within a minute."""
    async with asyncio.timeout(BOUND_S):
        while not holds():
            if pending := [task for task in tasks if not task.done()]:
                await asyncio.wait(pending, timeout=POLL_S)
            else:
                raise AssertionError("all tasks have ended, and it does not hold")
