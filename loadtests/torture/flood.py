"""A client that costs little: requests as bytes made before, sent at fixed times whatever becomes of those before."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

from urllib3.filepost import encode_multipart_formdata

from loadtests.torture.server import HOST

# More open requests than any server answers in time; a generator that queued what goes beyond would measure itself.
MOST_CONNECTIONS = 1500
ANSWER_BOUND_S = 60.0


@dataclass
class Outcome:
    """What became of requests.

    Attributes:
        statuses: status -> number; 0 where no answer came.
        latency_s: of those answered with success.
        refusal_s: of those refused with 429 or 503.
        without_retry_after: refusals that did not say when to try again.
        unsent: requests whose time came while every connection of the generator waited for an answer.
        late_s: how long after its time each of the others was sent.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    latency_s: list[float] = field(default_factory=list)
    refusal_s: list[float] = field(default_factory=list)
    without_retry_after: int = 0
    unsent: int = 0
    late_s: list[float] = field(default_factory=list)

    def note(self, status: int, seconds: float, head: bytes) -> None:
        """Count an answer."""
        self.statuses[status] += 1
        if 200 <= status < 300:
            self.latency_s.append(seconds)
        elif status in (429, 503):
            self.refusal_s.append(seconds)
            self.without_retry_after += b"\nretry-after:" not in head.lower()

    def add(self, other: "Outcome") -> None:
        """Count what another has counted."""
        self.statuses += other.statuses
        self.latency_s += other.latency_s
        self.refusal_s += other.refusal_s
        self.without_retry_after += other.without_retry_after


class Connections:
    """Connections that are kept open and used again, opened as they are needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._places = asyncio.Semaphore(MOST_CONNECTIONS)

    @property
    def all_wait(self) -> bool:
        """Whether every connection waits for an answer."""
        return self._places.locked()

    async def call(self, request: bytes, outcome: Outcome) -> None:
        """Send a request and wait for its answer, which is noted."""
        began = time.perf_counter()
        try:
            async with self._places, asyncio.timeout(ANSWER_BOUND_S):
                status, head = await self._exchange(request)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            status, head = 0, b""
        outcome.note(status, time.perf_counter() - began, head)

    def close(self) -> None:
        """Close those that are idle."""
        for _, writer in self._idle:
            writer.close()

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                break
        else:
            reader, writer = await asyncio.open_connection(HOST, self._port)
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_content_length(head))
        except BaseException:
            writer.close()
            raise
        if b"\nconnection: close" in head.lower():
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(head[9:12]), head


def request_bytes(call: str, sample: bytes, **fields: str) -> bytes:
    """A whole POST with one file."""
    body, content_type = encode_multipart_formdata({**fields, "file": ("sample", sample)})
    head = f"POST /v1/{call} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def closed_loop(port: int, requests: list[bytes], callers: int, seconds: float) -> Outcome:
    """Callers that send their next request when the last is answered."""
    outcome, connections = Outcome(), Connections(port)
    end = time.perf_counter() + seconds

    async def caller(number: int) -> None:
        while time.perf_counter() < end:
            await connections.call(requests[number % len(requests)], outcome)
            number += callers

    await asyncio.gather(*(caller(number) for number in range(callers)))
    connections.close()
    return outcome


async def open_loop(port: int, requests: list[bytes], rate: float, seconds: float) -> Outcome:
    """Requests at a fixed rate, each sent at its time however many are unanswered, as far as one process can.

    One process builds, sends and reads all of them, so it may offer less than it is asked for, and later; what it
    offered, left out and sent late is in the outcome.
    """
    outcome, connections = Outcome(), Connections(port)
    began = time.perf_counter()
    tasks = []
    for number in range(round(rate * seconds)):
        delay = began + number / rate - time.perf_counter()
        if delay > 0:
            await asyncio.sleep(delay)
        elif number % 16 == 0:
            await asyncio.sleep(0)  # answers have to be read even where sending is behind its time
        if connections.all_wait:
            outcome.unsent += 1
            continue
        outcome.late_s.append(time.perf_counter() - began - number / rate)
        tasks.append(asyncio.create_task(connections.call(requests[number % len(requests)], outcome)))
    await asyncio.gather(*tasks)
    connections.close()
    return outcome


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0
