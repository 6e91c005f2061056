"""The parent of the processes of a service: it starts, watches, replaces and ends them.

It loads no model and opens no database: there is little that it could fail at. See docs/decisions/176.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from socket import socket, socketpair
from typing import Final

from matchka.runtime.processes.child import Child
from matchka.runtime.processes.handing_over import Front, Hand
from matchka.runtime.processes.snapshots import Snapshot, lasting, merged

LOOK_S: Final = 1.0
HANG_S: Final = 60.0  # an event loop that does not go round, or a run of a graph, for as long will not end by itself
LONG_LIFE_S: Final = 60.0  # who served for as long is replaced at once
LONGEST_PAUSE_S: Final = 60.0
FAILED: Final = 2  # as the exit status of every command that fails
LOGGER: Final = logging.getLogger("matchka.runtime.processes")


@dataclass(frozen=True)
class ChildEnds:
    """What a child has of its parent. Attributes: channel: of its link; listeners: see HandedConnections."""

    channel: socket
    listeners: tuple[socket, ...]


StartProcess = Callable[[int, ChildEnds], SpawnProcess]


class Supervisor:
    """Keeps so many processes running until it is told to stop, or until they cannot be started.

    The first one is started alone: it brings tables up to date, makes what is missing in the data folder, and finds
    what is wrong, once. The others follow when it takes connections.

    Args:
        count: of the processes, numbered from 1.
        start: starts one of them.
        listeners: bound; whose connections are handed to them.
        stop_s: they are killed when they have not ended so long after SIGTERM.
        hang_s: one that does not answer for so long is killed and replaced.
        grace_s: connections are taken for so long after SIGTERM, but for those of the listeners behind the first.
    """

    def __init__(
        self,
        count: int,
        start: StartProcess,
        listeners: Sequence[socket],
        stop_s: float,
        hang_s: float = HANG_S,
        grace_s: float = 0.0,
    ) -> None:
        self._count = count
        self._start = start
        self._stop_s = stop_s
        self._grace_s = grace_s
        self._hang_s = hang_s
        self._fronts = [Front(one, self._hands_at(place)) for place, one in enumerate(listeners)]
        self._children: dict[int, Child] = {}
        self._ended: Snapshot = []
        self._replaced = 0
        self._status = 0
        self._were_loaded = False  # all of them
        self._telling: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._first_is_open = asyncio.Event()

    async def run(self) -> int:
        """Run them. Returns: 0, or the exit status of the one that could not start."""
        async with asyncio.TaskGroup() as keepers:
            for number in range(1, self._count + 1):
                keepers.create_task(self._keep(number))
                if number == 1:
                    await self._first_is_open.wait()
        for front in self._fronts:
            front.close()
        return self._status

    def stop(self) -> None:
        """End all of them by SIGTERM; by one more each time it is called, which means more haste."""
        for child in self._children.values():
            child.terminate()
        if not self._stopping.is_set():
            self._stopping.set()
            self._first_is_open.set()  # who waits to start the others need not
            loop = asyncio.get_running_loop()
            loop.call_later(self._stop_s, self._kill)
            # later connections would wait for the last request in flight, and then be reset
            loop.call_later(self._grace_s if self._were_loaded else 0.0, self._fronts[0].close)
        else:
            self._fronts[0].close()

    async def _keep(self, number: int) -> None:
        pause_s = 0.0
        while not self._stopping.is_set():
            try:
                child = await self._started(number)
            except OSError as error:  # no process, no memory, no descriptor is to be had
                if not self._were_loaded:
                    raise
                pause_s = min(max(LOOK_S, 2 * pause_s), LONGEST_PAUSE_S)
                LOGGER.error("process %d cannot be started: %s; again in %.0f s", number, error.strerror, pause_s)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause_s)
                continue
            if self._stopping.is_set():  # meanwhile
                child.terminate()
            status = await self._watch(child)
            self._ended = merged([self._ended, lasting(child.metrics)])
            del self._children[number]
            if self._stopping.is_set():
                if child.loaded_at is not None or not self._were_loaded:  # one that came to nothing while others serve
                    self._status = self._status or max(0, status)
                return
            served_s = 0.0 if child.loaded_at is None else time.monotonic() - child.loaded_at
            if not self._goes_on_without(child, status):
                return
            pause_s = 0.0 if served_s >= LONG_LIFE_S else min(max(LOOK_S, 2 * pause_s), LONGEST_PAUSE_S)
            LOGGER.error("process %d ended %s and is replaced in %.0f s", number, _how(status), pause_s)
            self._replaced += 1
            try:
                await asyncio.wait_for(self._stopping.wait(), pause_s)
            except TimeoutError:
                continue

    def _goes_on_without(self, child: Child, status: int) -> bool:
        """Whether the service goes on; it ends where one cannot start, unless others serve."""
        if self._were_loaded and (child.is_loaded or any(other.is_loaded for other in self._children.values())):
            return True
        if status <= 0:
            LOGGER.critical(
                "process %d ended %s before it served. Each of the %d processes needs memory for all models and "
                "galleries: where there is not enough, set MATCHKA_PROCESSES lower.",
                *(child.number, _how(status), self._count),
            )
        self._status = status if status > 0 else FAILED
        self.stop()
        return False

    async def _started(self, number: int) -> Child:
        channel, its_channel = socketpair()
        pairs = [socketpair() for _ in self._fronts]
        for _, its in pairs:
            its.setblocking(False)
        ends = ChildEnds(its_channel, tuple(its for _, its in pairs))
        try:
            process = self._start(number, ends)
        except OSError:
            for own in (channel, *(own for own, _ in pairs)):
                own.close()
            raise
        finally:
            for its in (its_channel, *ends.listeners):
                its.close()
        child = Child(number, process, channel, [Hand(own) for own, _ in pairs], self._look, self._tell_counts)
        await child.connect()
        if self._were_loaded:
            child.tell({"tell": "all loaded"})
        self._children[number] = child
        return child

    async def _watch(self, child: Child) -> int:
        """Wait for its end, which comes soon where it hangs."""
        while not child.ended.done():
            if child.is_hanging(self._hang_s) and not self._stopping.is_set():
                LOGGER.error("process %d (%s) has hung for %.0f s and is killed", child.number, child.pid, self._hang_s)
                child.kill()
            await asyncio.wait([child.ended], timeout=LOOK_S)
        return child.ended.result()

    def _look(self) -> None:
        """Something has changed."""
        children = self._children.values()
        if any(child.is_open for child in children):
            self._first_is_open.set()
        if not self._were_loaded and sum(child.is_loaded for child in children) == self._count:
            self._were_loaded = True
            held_mib = [child.resident_mib for child in children]
            what = "all %d processes are loaded and hold %.0f MiB of memory together, the largest of them %.0f"
            LOGGER.info(what, self._count, sum(held_mib), max(held_mib))
            for child in children:
                child.tell({"tell": "all loaded"})
        for front in self._fronts:
            front.look()

    def _hands_at(self, place: int) -> Callable[[], Iterable[tuple[bool, Hand]]]:
        return lambda: [(child.is_loaded, child.hands[place]) for child in self._children.values() if child.is_open]

    def _tell_counts(self, child: Child) -> None:
        telling = asyncio.get_running_loop().create_task(self._tell_counts_to(child))
        self._telling.add(telling)  # a loop remembers its tasks weakly
        telling.add_done_callback(self._telling.discard)

    async def _tell_counts_to(self, asking: Child) -> None:
        children = [child for child in self._children.values() if child.is_open]
        snapshots = await asyncio.gather(*(child.read_metrics() for child in children))
        running = {child.number: snapshot for child, snapshot in zip(children, snapshots, strict=True)}
        ready = sum(child.is_loaded for child in children)
        counts = {"ended": self._ended, "running": running, "ready": ready, "replaced": self._replaced}
        asking.tell({"counts": counts})

    def _kill(self) -> None:
        for child in self._children.values():
            LOGGER.error("process %d has not ended and is killed", child.number)
            child.kill()


def _how(status: int) -> str:
    """How a process ended.

    >>> _how(-9), _how(2)
    ('by signal 9', 'with exit status 2')
    """
    return f"by signal {-status}" if status < 0 else f"with exit status {status}"
