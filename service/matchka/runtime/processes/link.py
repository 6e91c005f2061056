"""The link of a process to its parent: it answers how it is, asks for the others, and ends with it."""

import asyncio
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Any, Final

from matchka.errors import OverloadedError
from matchka.runtime.processes.moments import Moments
from matchka.runtime.processes.siblings import ServiceCounts
from matchka.runtime.processes.snapshots import Snapshot

MIB: Final = 1 << 20
LOGGER: Final = logging.getLogger("matchka.runtime.processes")
ANSWER_S: Final = 10.0  # the parent waits for less until it gives a process up


class Link:
    """One process' end of the link, with a thread of its own, so that it is answered while the event loop is busy.

    Messages are lines of JSON. A process whose parent is gone is killed: nobody would replace it, nor end it.

    Args:
        channel: to the parent.
        number: of this process, from 1.
        request_rates: of all processes.
        refused_networks: of all processes.
        snapshot: the metrics of this one.
        longest_work_s: seconds that the longest piece of native work under way has taken.
        gallery_files: see Siblings.
    """

    def __init__(
        self,
        channel: socket.socket,
        number: int,
        request_rates: Moments,
        refused_networks: Moments,
        snapshot: Callable[[], Snapshot],
        longest_work_s: Callable[[], float],
        gallery_files: tuple[int, int] | None = None,
    ) -> None:
        self.is_alone = False
        self.is_first = number == 1
        self.request_rates = request_rates
        self.refused_networks = refused_networks
        self.gallery_files = gallery_files
        self.all_loaded = False
        self._channel = channel
        self._snapshot = snapshot
        self._longest_work_s = longest_work_s
        self._beaten: float | None = None
        self._asked: list[Future[ServiceCounts]] = []
        self._writing = Lock()
        self._asking = Lock()
        Thread(target=self._listen, name="matchka-link", daemon=True).start()

    async def beat(self) -> None:
        """The event loop of the server goes round; the first time says that it takes connections."""
        is_first_beat, self._beaten = self._beaten is None, time.monotonic()
        if is_first_beat:
            self._send({"tell": "open"})

    def note_loaded(self) -> None:
        """Tell the parent."""
        self._send({"tell": "loaded", "resident_mib": resident_mib()})

    async def counts(self) -> ServiceCounts | None:
        """Ask the parent."""
        asked: Future[ServiceCounts] = Future()
        with self._asking:  # answers come in the order of the questions
            self._asked.append(asked)
            self._send({"ask": "counts"})
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(asked)), ANSWER_S)
        except TimeoutError as error:
            raise OverloadedError(
                "The other processes of the service do not answer.",
                remedy="Try again after the seconds in Retry-After.",
            ) from error

    def _listen(self) -> None:
        try:
            with self._channel.makefile("rb") as lines:
                for line in lines:
                    self._take(json.loads(line))
        finally:
            os.kill(os.getpid(), signal.SIGKILL)

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("ask") == "state":
            beaten = self._beaten
            behind_s = 0.0 if beaten is None else time.monotonic() - beaten
            busy_s = max(behind_s, self._longest_work_s())
            self._send({"state": {"busy_s": busy_s}})
        elif message.get("ask") == "metrics":
            self._send({"metrics": self._metrics()})
        elif message.get("tell") == "all loaded":
            self.all_loaded = True
        elif "counts" in message:
            counts = message["counts"]
            running = {int(number): snapshot for number, snapshot in counts["running"].items()}
            self._asked.pop(0).set_result(ServiceCounts(counts["ended"], running, counts["ready"], counts["replaced"]))

    def _metrics(self) -> Snapshot:
        try:
            return self._snapshot()
        except Exception:  # whatever a collector meets: what was read last is told, and the process goes on
            LOGGER.exception("the metrics of this process cannot be read")
            return []

    def _send(self, message: dict[str, Any]) -> None:
        with self._writing:
            self._channel.sendall(json.dumps(message).encode() + b"\n")


def resident_mib() -> float:
    """Memory that this process holds now; where the system does not say, the most that it has held."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no file of anybody's
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB  # bytes, where this is not Linux
