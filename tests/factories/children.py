"""Processes for a Supervisor that are no service: each says its number and process id to whoever connects."""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path

from matchka.runtime.processes.handing_over import HandedConnections
from matchka.runtime.processes.link import Link
from matchka.runtime.processes.supervisor import ChildEnds

SLOW_S = 16.0
Child = Callable[[int, ChildEnds, Path], None]


def starter(child: Child, folder: Path) -> Callable[[int, ChildEnds], SpawnProcess]:
    """What starts processes that run `child(number, ends, folder)`."""

    def start(number: int, ends: ChildEnds) -> SpawnProcess:
        process = get_context("spawn").Process(target=child, args=(number, ends, folder), daemon=True)
        process.start()
        return process

    return start


def obedient(number: int, ends: ChildEnds, folder: Path, work_s: Callable[[], float] = float) -> None:
    """Serves until SIGTERM, and then ends with exit status 0."""
    logging.basicConfig(level=logging.WARNING)
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(0))
    with (folder / f"starts of {number}").open("a") as file:
        file.write(f"{os.getpid()}\n")
    listener = HandedConnections(ends.listeners[0].detach())
    link = Link(ends.channel, number, None, None, lambda: counter(number), work_s)
    asyncio.run(serve(number, listener, link))


def counter(number: int) -> list[dict[str, object]]:
    return [{"name": "n", "documentation": "", "type": "counter", "samples": [["n_total", {}, float(number)]]}]


async def serve(number: int, listener: socket.socket, link: Link) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{number} {os.getpid()}\n".encode())
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, sock=listener)
    link.note_loaded()
    async with server:
        while True:
            await link.beat()
            await asyncio.sleep(0.05)


def refusing(_number: int, _ends: ChildEnds, _folder: Path) -> None:
    """Cannot start."""
    sys.exit(5)


def killed_at_start(_number: int, _ends: ChildEnds, _folder: Path) -> None:
    """Ends as one for which the system has no memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def second_cannot_start_again(number: int, ends: ChildEnds, folder: Path) -> None:
    """The second one serves at its first start only."""
    if number == 2 and (folder / "starts of 2").exists():
        with (folder / "starts of 2").open("a") as file:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            file.write("in vain\n")
            file.flush()
        time.sleep(0.3)  # the service may be told to stop meanwhile
        sys.exit(5)
    obedient(number, ends, folder)


def stubborn(number: int, ends: ChildEnds, folder: Path) -> None:
    """Does not end at SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    obedient(number, ends, folder)


def first_works_for_ever(number: int, ends: ChildEnds, folder: Path) -> None:
    """The first start of the first one is at a piece of native work that does not end; its event loop goes round."""
    is_new = number == 1 and not (folder / "starts of 1").exists()
    obedient(number, ends, folder, (lambda: 1e6) if is_new else float)


def slow(number: int, ends: ChildEnds, folder: Path) -> None:
    """Loads for long."""
    with (folder / f"starts of {number}").open("a") as file:
        file.write("begun\n")
    time.sleep(SLOW_S)
    link = Link(ends.channel, number, None, None, lambda: counter(number), float)
    asyncio.run(serve(number, HandedConnections(ends.listeners[0].detach()), link))


def seems_busy_at_first(number: int, ends: ChildEnds, folder: Path) -> None:
    """Says four times in a row that it has been at work for long, goes on, and says so again."""
    answers = folder / f"answers of {number}"

    def work_s() -> float:
        with answers.open("a") as file:
            file.write(".")
        return 1e6 if answers.stat().st_size % 5 else 0.0

    obedient(number, ends, folder, work_s)
