"""Loads of many calls in one process: requests as bytes made before, raw sockets, connections that stay open.

It shares the cores with the server it asks, so it does as little as it can.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from urllib3.filepost import encode_multipart_formdata

from loadtests.server import HOST

# More open requests than any server answers in time; a generator that queued what goes beyond would measure itself.
MOST_CONNECTIONS = 1500
ANSWER_BOUND_S = 60.0
HEAD_END = b"\r\n\r\n"
STATUS = slice(9, 12)  # of `HTTP/1.1 200 OK`
CATCH_UP = 16  # calls sent behind their time before answers are read again


@dataclass(frozen=True)
class Call:
    """A whole HTTP request as bytes, and how many rows of the graph its sample becomes."""

    request: bytes
    rows: int = 1


@dataclass(frozen=True)
class Attempt:
    """What became of a call; times are of time.perf_counter().

    Attributes:
        call: that was sent.
        due: when it had to be sent.
        sent: when it was.
        done: when its answer was there, or was given up.
        status: of the answer; 0 where none came.
        names_retry: whether the answer has Retry-After.
    """

    call: Call
    due: float
    sent: float
    done: float
    status: int
    names_retry: bool = False

    @property
    def latency_s(self) -> float:
        """Seconds from when it was sent."""
        return self.done - self.sent

    @property
    def is_refusal(self) -> bool:
        """Whether the server had no room."""
        return self.status in (429, 503)


@dataclass
class Outcome:
    """What became of many calls.

    Attributes:
        attempts: in the order of their answers.
        unsent: calls whose time came while every connection waited for an answer.
    """

    attempts: list[Attempt] = field(default_factory=list)
    unsent: int = 0

    @property
    def statuses(self) -> Counter[int]:
        """Status -> number; 0 where no answer came."""
        return Counter(attempt.status for attempt in self.attempts)

    @property
    def latency_s(self) -> list[float]:
        """Of those answered with success."""
        return [attempt.latency_s for attempt in self.attempts if 200 <= attempt.status < 300]

    @property
    def refusal_s(self) -> list[float]:
        """Latency of those refused with 429 or 503."""
        return [attempt.latency_s for attempt in self.attempts if attempt.is_refusal]

    @property
    def without_retry_after(self) -> int:
        """Refusals that did not say when to try again."""
        return sum(attempt.is_refusal and not attempt.names_retry for attempt in self.attempts)

    @property
    def late_s(self) -> list[float]:
        """How long after its time each was sent."""
        return [attempt.sent - attempt.due for attempt in self.attempts]


def form_request(path: str, fields: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> bytes:
    """A whole POST of a multipart form; values of bytes are files."""
    parts = {name: ("sample", value) if isinstance(value, bytes) else value for name, value in fields.items()}
    body, content_type = encode_multipart_formdata(parts)
    lines = {"Host": HOST, "Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


class Connections:
    """Connections that are kept open and used again, opened as they are needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[_Connection] = []
        self._places = asyncio.Semaphore(MOST_CONNECTIONS)

    @property
    def all_wait(self) -> bool:
        """Whether every connection waits for an answer."""
        return self._places.locked()

    async def attempt(self, call: Call, due: float | None = None) -> Attempt:
        """Send a call, due now unless told otherwise, and wait for what becomes of it."""
        sent = time.perf_counter()
        due = sent if due is None else due
        try:
            async with self._places, asyncio.timeout(ANSWER_BOUND_S):
                connection = await self._open()
                try:
                    head = await connection.exchange(call.request)
                except BaseException:
                    connection.close()
                    raise
        except (OSError, TimeoutError):
            return Attempt(call, due, sent, time.perf_counter(), 0)
        if b"\nconnection: close" in head:
            connection.close()
        else:
            self._idle.append(connection)
        return Attempt(call, due, sent, connection.answered, int(head[STATUS]), b"\nretry-after:" in head)

    def close(self) -> None:
        """Close those that are idle."""
        for connection in self._idle:
            connection.close()

    async def _open(self) -> "_Connection":
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closing:  # as the server does behind a refusal
                return connection
        _, opened = await asyncio.get_running_loop().create_connection(_Connection, HOST, self._port)
        return opened


class _Connection(asyncio.Protocol):
    """One connection with at most one request under way."""

    def __init__(self) -> None:
        self.answered = 0.0
        self._transport: Any = None
        self._buffer = b""
        self._missing: int | None = None  # bytes of the answer that have not come yet; None before its head
        self._answer: asyncio.Future[bytes] | None = None

    @property
    def is_closing(self) -> bool:
        return bool(self._transport.is_closing())

    def close(self) -> None:
        self._transport.close()

    async def exchange(self, request: bytes) -> bytes:
        """Send a request; the head of its answer, in small letters, once all of the answer is there."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._missing is None:
            self._buffer += data
            head, end, body = self._buffer.partition(HEAD_END)
            if not end:
                return
            self._buffer = head.lower()
            self._missing = _content_length(self._buffer) - len(body)
        else:
            self._missing -= len(data)
        if self._missing <= 0:
            self.answered = time.perf_counter()
            head, self._buffer, self._missing = self._buffer, b"", None
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(head)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("the server ended the connection") if exc is None else exc)


async def closed_loop(port: int, calls: Sequence[Call], callers: int, seconds: float) -> Outcome:
    """Callers that send their next call when the last is answered; they take them in turn from one list."""
    outcome, connections, upcoming = Outcome(), Connections(port), itertools.cycle(calls)
    end = time.perf_counter() + seconds

    async def caller() -> None:
        while time.perf_counter() < end:
            outcome.attempts.append(await connections.attempt(next(upcoming)))

    await asyncio.gather(*(caller() for _ in range(callers)))
    connections.close()
    return outcome


async def open_loop(port: int, calls: Sequence[Call], due_s: Sequence[float]) -> Outcome:
    """Calls in turn, each sent at its time however many are unanswered, as far as one process can.

    One process sends and reads all of them, so it may offer less than it is asked for, and later; what it offered, left
    out and sent late is in the outcome.

    Args:
        port: of a server on this machine.
        calls: sent in turn.
        due_s: ascending seconds from now at which a call is due.
    """
    outcome, connections = Outcome(), Connections(port)
    began = time.perf_counter()

    async def attempt(call: Call, due: float) -> None:
        outcome.attempts.append(await connections.attempt(call, due))

    async with asyncio.TaskGroup() as sending:
        for number, (call, offset) in enumerate(zip(itertools.cycle(calls), due_s, strict=False)):
            delay = began + offset - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            elif number % CATCH_UP == 0:
                await asyncio.sleep(0)  # answers have to be read even where sending is behind its time
            if connections.all_wait:
                outcome.unsent += 1
            else:
                sending.create_task(attempt(call, began + offset))
    connections.close()
    return outcome


def evenly(rate: float, seconds: float) -> list[float]:
    """Times of calls at a fixed rate, in seconds."""
    return [number / rate for number in range(round(rate * seconds))]


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0
