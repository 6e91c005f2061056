"""One process of a service, as its parent sees it."""

import asyncio
import json
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.context import SpawnProcess
from typing import Any, Final

from matchka.runtime.processes.handing_over import Hand
from matchka.runtime.processes.snapshots import Snapshot

METRICS_S: Final = 2.0  # for which the metrics of a process are waited for; then those of the last time are told
LONGEST_LINE: Final = 64 << 20  # bytes of a message: the metrics of many tenants
BUSY_ANSWERS: Final = 5  # in a row; one that was paused, with its machine say, needs a moment to go on
MOST_SILENT_S: Final = 2.0  # that count between two looks: a parent that was stopped itself saw no answers


class Child:
    """A process that was started, and the parent's end of its link.

    Args:
        number: from 1.
        process: started.
        channel: of the link.
        hands: to hand connections over, one for each listener of the service.
        on_change: called when it says that it is open or loaded, and when it ends.
        on_asked: called when it asks for the counts of all.
    """

    def __init__(
        self,
        number: int,
        process: SpawnProcess,
        channel: socket.socket,
        hands: Sequence[Hand],
        on_change: Callable[[], None],
        on_asked: Callable[["Child"], None],
    ) -> None:
        self.number = number
        self.hands = hands
        self.is_open = False
        self.loaded_at: float | None = None
        self.metrics: Snapshot = []
        self.resident_mib = 0.0
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._process = process
        self._channel = channel
        self._on_change = on_change
        self._on_asked = on_asked
        self._writer: asyncio.StreamWriter | None = None
        self._silent_s = 0.0
        self._busy_s: deque[float] = deque(maxlen=BUSY_ANSWERS)  # as it said last
        self._is_asked = False  # and has not answered yet
        self._looked_at = time.monotonic()
        self._metrics_come: asyncio.Future[None] | None = None

    async def connect(self) -> None:
        """Begin to read what it says; before anything else."""
        reader, self._writer = await asyncio.open_connection(sock=self._channel, limit=LONGEST_LINE)
        self._reading = asyncio.get_running_loop().create_task(self._read(reader))
        asyncio.get_running_loop().add_reader(self._process.sentinel, self._end)

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return self._process.pid

    @property
    def is_loaded(self) -> bool:
        """Whether it serves, or has said that it will not."""
        return self.loaded_at is not None

    def is_hanging(self, hang_s: float) -> bool:
        """Whether it has not answered, or not gone on with what it does, for so many seconds; asks it how it is.

        One that has never answered is loading libraries, which takes as long as it takes.
        """
        now = time.monotonic()
        if not self._is_asked:
            self._is_asked = True
            self.tell({"ask": "state"})
        elif self._busy_s:
            self._silent_s += min(now - self._looked_at, MOST_SILENT_S)
        self._looked_at = now
        return self._silent_s > hang_s or (len(self._busy_s) == BUSY_ANSWERS and min(self._busy_s) > hang_s)

    async def read_metrics(self) -> Snapshot:
        """Its metrics; those of the last time where it does not answer."""
        if self._metrics_come is None:
            self._metrics_come = asyncio.get_running_loop().create_future()
            self.tell({"ask": "metrics"})
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._metrics_come), METRICS_S)
        return self.metrics

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message; one to a process that has ended is lost."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            async for line in reader:
                self._take(json.loads(line))
        if self._writer is not None:
            with suppress(ConnectionError):  # asyncio prints what ended the connection where nobody asks for it
                await self._writer.wait_closed()

    def _take(self, message: dict[str, Any]) -> None:
        if "state" in message:
            state = message["state"]
            self._busy_s.append(state["busy_s"])
            self._is_asked, self._silent_s = False, 0.0
        elif "metrics" in message:
            self.metrics = message["metrics"] or self.metrics
            if self._metrics_come is not None:
                self._metrics_come.set_result(None)
                self._metrics_come = None
        elif message.get("tell") == "open":
            self.is_open = True
            self._on_change()
        elif message.get("tell") == "loaded":
            self.loaded_at = time.monotonic()
            self.resident_mib = message["resident_mib"]
            self._on_change()
        elif message.get("ask") == "counts":
            self._on_asked(self)

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._process.join()  # at once: it has ended
        self.is_open = False
        for hand in self.hands:
            hand.close()
        if self._writer is not None:
            self._writer.close()
        if self._metrics_come is not None and not self._metrics_come.done():
            self._metrics_come.set_result(None)
        self.ended.set_result(self._process.exitcode or 0)
        self._on_change()
