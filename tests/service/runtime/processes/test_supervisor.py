"""The parent of processes: what it hands to them, and what it does when they end, hang or cannot start."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from matchka.runtime.processes.siblings import ServiceCounts
from matchka.runtime.processes.supervisor import FAILED, Supervisor
from tests.factories import children

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="there is one process on Windows"),
]

BOUND_S = 120.0
STOP_S = 60.0
Story = Callable[["Service"], Awaitable[None]]


class Service:
    """A supervisor under test, and a client of what it keeps running."""

    def __init__(self, supervisor: Supervisor, address: tuple[str, int]) -> None:
        self.supervisor = supervisor
        self.address = address
        self.open: list[asyncio.StreamWriter] = []
        self.answered: list[int] = []  # by whom, in the same order

    async def connect(self) -> tuple[int, int]:
        """A connection that stays open. Returns: number and process id of who answers it."""
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            number, pid = (await reader.readline()).split()
        except (ConnectionError, ValueError):
            writer.close()
            raise
        self.open.append(writer)
        self.answered.append(int(number))
        return int(number), int(pid)

    async def all_numbers(self, count: int) -> dict[int, int]:
        """Connect until so many processes have answered; their process ids by their numbers."""
        seen: dict[int, int] = {}
        while len(seen) < count:
            with suppress(ConnectionError, ValueError):  # of one that ended meanwhile
                number, pid = await self.connect()
                seen[number] = pid
            await asyncio.sleep(0.02)
        return seen


def run(
    child: children.Child, folder: Path, story: Story | None, count: int = 2, stop_s: float = STOP_S, hang_s: float = 60
) -> int:
    """Run processes until the story is told, or until they end. Returns: the exit status of the service."""

    async def scenario() -> int:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            supervisor = Supervisor(count, children.starter(child, folder), [listener], stop_s, hang_s)
            running = asyncio.create_task(supervisor.run())
            if story is not None:
                service = Service(supervisor, listener.getsockname())
                await asyncio.wait_for(story(service), BOUND_S)
                supervisor.stop()
                for writer in service.open:
                    writer.close()
            return await asyncio.wait_for(running, BOUND_S)

    return asyncio.run(scenario())


def starts(folder: Path, number: int) -> list[str]:
    return (folder / f"starts of {number}").read_text().split("\n")[:-1]


def is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_connections_are_spread_evenly_over_processes(tmp_path: Path):
    async def story(service: Service) -> None:
        while not service.supervisor._were_loaded:
            await asyncio.sleep(0.05)
        while len(service.open) < 60:
            await service.connect()
        assert Counter(service.answered) == {1: 20, 2: 20, 3: 20}
        for place, number in list(enumerate(service.answered)):
            if number == 2 and place % 2:
                service.open[place].close()
        closed = sum(number == 2 and place % 2 for place, number in enumerate(service.answered))
        while service.supervisor._children[2].hands[0].count() != 20 - closed:
            await asyncio.sleep(0.05)
        assert [(await service.connect())[0] for _ in range(closed)] == [2] * closed

    assert run(children.obedient, tmp_path, story, count=3) == 0


def test_process_that_is_killed_is_replaced_and_the_others_go_on(tmp_path: Path):
    async def story(service: Service) -> None:
        before = await service.all_numbers(2)
        os.kill(before[1], signal.SIGKILL)
        while (await service.all_numbers(2))[1] == before[1]:
            pass
        assert (await service.all_numbers(2))[2] == before[2]

    assert run(children.obedient, tmp_path, story) == 0
    assert len(starts(tmp_path, 1)) == 2
    assert len(starts(tmp_path, 2)) == 1


def test_all_processes_are_gone_when_the_service_has_stopped(tmp_path: Path):
    pids: list[int] = []

    async def story(service: Service) -> None:
        pids.extend((await service.all_numbers(2)).values())

    assert run(children.obedient, tmp_path, story) == 0
    assert not any(is_alive(pid) for pid in pids)


def test_service_whose_processes_cannot_start_ends_with_their_status_and_tries_once(tmp_path: Path):
    assert run(children.refusing, tmp_path, None, count=4) == 5


def test_process_killed_before_it_served_ends_the_service_which_speaks_of_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.CRITICAL):
        assert run(children.killed_at_start, tmp_path, None) == FAILED
    assert "by signal 9 before it served" in caplog.text
    assert "MATCHKA_PROCESSES" in caplog.text


def test_replacement_that_cannot_start_is_tried_again_while_another_one_serves(tmp_path: Path):
    async def story(service: Service) -> None:
        before = await service.all_numbers(2)
        os.kill(before[2], signal.SIGKILL)
        while starts(tmp_path, 2).count("in vain") < 2:
            await asyncio.sleep(0.05)
        assert (await service.connect())[0] == 1

    assert run(children.second_cannot_start_again, tmp_path, story) == 0


def test_replacement_for_which_the_system_has_no_room_is_tried_again_while_another_one_serves(tmp_path: Path):
    attempts: list[int] = []

    async def scenario() -> int:
        start = children.starter(children.obedient, tmp_path)

        def start_twice(number: int, ends: children.ChildEnds) -> children.SpawnProcess:
            attempts.append(number)
            if len(attempts) in (3, 4):
                raise BlockingIOError(11, "Resource temporarily unavailable")
            return start(number, ends)

        with socket.create_server(("127.0.0.1", 0)) as listener:
            supervisor = Supervisor(2, start_twice, [listener], STOP_S)
            running = asyncio.create_task(supervisor.run())
            service = Service(supervisor, listener.getsockname())
            before = await asyncio.wait_for(service.all_numbers(2), BOUND_S)
            os.kill(before[2], signal.SIGKILL)
            async with asyncio.timeout(BOUND_S):
                while len(attempts) < 5:
                    await service.all_numbers(1)  # the other one answers
                assert (await service.all_numbers(2))[1] == before[1]
            supervisor.stop()
            for writer in service.open:
                writer.close()
            return await asyncio.wait_for(running, BOUND_S)

    assert asyncio.run(scenario()) == 0
    assert attempts == [1, 2, 2, 2, 2]


def test_process_that_is_stopped_in_its_tracks_is_killed_and_replaced(tmp_path: Path):
    async def story(service: Service) -> None:
        before = await service.all_numbers(2)
        os.kill(before[2], signal.SIGSTOP)
        while len(starts(tmp_path, 2)) < 2:
            await asyncio.sleep(0.05)
        assert not is_alive(before[2])
        await service.all_numbers(2)

    assert run(children.obedient, tmp_path, story, hang_s=5) == 0


def test_process_whose_native_work_does_not_end_is_killed_and_replaced(tmp_path: Path):
    async def story(service: Service) -> None:
        while not (tmp_path / "starts of 1").exists() or len(starts(tmp_path, 1)) < 2:
            await asyncio.sleep(0.05)
        await service.all_numbers(2)

    assert run(children.first_works_for_ever, tmp_path, story) == 0
    assert len(starts(tmp_path, 2)) == 1


def test_processes_that_do_not_end_at_sigterm_are_killed(tmp_path: Path):
    pids: list[int] = []

    async def story(service: Service) -> None:
        pids.extend((await service.all_numbers(2)).values())

    run(children.stubborn, tmp_path, story, stop_s=0.5)
    assert not any(is_alive(pid) for pid in pids)


def test_counts_of_all_processes_are_told_to_the_one_that_asks(tmp_path: Path):
    told: list[ServiceCounts] = []

    class Asking:
        """A child of the supervisor's that only listens."""

        def tell(self, message: dict) -> None:
            told.append(ServiceCounts(**message["counts"]))

    async def story(service: Service) -> None:
        await service.all_numbers(2)
        await service.supervisor._tell_counts_to(Asking())  # type: ignore[arg-type]

    assert run(children.obedient, tmp_path, story) == 0
    assert told == [ServiceCounts([], {1: children.counter(1), 2: children.counter(2)}, 2, 0)]


def test_process_that_takes_long_to_start_is_not_taken_to_hang(tmp_path: Path):
    async def story(service: Service) -> None:
        await service.connect()
        assert len(starts(tmp_path, 1)) == 1

    assert run(children.slow, tmp_path, story, hang_s=children.SLOW_S / 2) == 0


def test_process_that_goes_on_after_a_pause_is_not_taken_to_hang(tmp_path: Path):
    async def story(service: Service) -> None:
        before = await service.all_numbers(2)
        while len((tmp_path / "answers of 2").read_text()) < 20:
            await asyncio.sleep(0.05)
        assert await service.all_numbers(2) == before
        assert len(starts(tmp_path, 2)) == 1

    assert run(children.seems_busy_at_first, tmp_path, story) == 0
