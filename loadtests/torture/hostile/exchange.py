"""Raw exchanges: bytes sent as they are, in steps with pauses, and every answer that comes back."""

import asyncio
import contextlib
import json
import socket
import time
from dataclasses import dataclass, field

from loadtests.server import HOST
from loadtests.torture.hostile.documented import CLOSED, FOREIGN_ORIGIN_ALLOWED, UNANSWERED, Outcome

ANSWER_BOUND_S = 60.0
NO_ROOM = 503
POLL_S = 0.01
EXTRA_ANSWERS_S = 0.02  # how long more answers than were asked for are waited for
BLOCK = 1 << 16


@dataclass(frozen=True)
class Case:
    """One hostile request.

    Attributes:
        name: which shape it has; shown where it is not answered as documented.
        steps: bytes that are sent, and seconds of silence between them.
        answers: that must come; more than these are judged as well.
        source: the address it comes from.
    """

    name: str
    steps: tuple[bytes | float, ...]
    answers: int = 1
    source: str = HOST


@dataclass(frozen=True)
class Exchanged:
    """What came back: one outcome for each answer, or for the lack of one, and the seconds until the first."""

    outcomes: tuple[Outcome, ...]
    seconds: float


@dataclass
class _Received:
    """Bytes of answers, as they come."""

    data: bytearray = field(default_factory=bytearray)
    first_s: float = float("nan")

    def is_enough(self, answers: int, is_sent: bool) -> bool:
        """Whether a case with so many answers is over; who is refused for want of room does not stay to send."""
        outcomes, _ = parse_answers(bytes(self.data), is_whole=False)
        return len(outcomes) >= answers and (is_sent or NO_ROOM in {status for status, _ in outcomes})


async def exchange(port: int, case: Case, bound_s: float = ANSWER_BOUND_S) -> Exchanged:
    """Send a case and read until it is sent and answered, the server ends the connection or has no room, or it is time.

    Sending and reading do not wait for each other, so that a refusal is read while the body is still being sent.
    """
    received, has_ended = _Received(), False
    began = time.perf_counter()
    with socket.socket() as connection:
        connection.setblocking(False)
        try:
            async with asyncio.timeout(bound_s):
                connection.bind((case.source, 0))
                await asyncio.get_running_loop().sock_connect(connection, (HOST, port))
                has_ended = await _converse(connection, case, received)
        except TimeoutError:
            pass
        except OSError:
            has_ended = True  # not even connected
    outcomes, _ = parse_answers(bytes(received.data), has_ended)
    outcomes += [CLOSED if has_ended else UNANSWERED] * (case.answers - len(outcomes))
    return Exchanged(tuple(outcomes), received.first_s - began)


async def _converse(connection: socket.socket, case: Case, received: _Received) -> bool:
    """Send and receive; whether the server ended the connection."""
    sending = asyncio.create_task(_send(connection, case.steps))
    receiving = asyncio.create_task(_receive(connection, received))
    try:
        quiet_s = 0.0
        while not receiving.done() and quiet_s < EXTRA_ANSWERS_S:
            size = len(received.data)
            await asyncio.wait({receiving}, timeout=POLL_S)
            is_enough = size == len(received.data) and received.is_enough(case.answers, sending.done())
            quiet_s = quiet_s + POLL_S if is_enough else 0.0
        return receiving.done()
    finally:
        for task in (sending, receiving):
            task.cancel()
        await asyncio.gather(sending, receiving, return_exceptions=True)


async def _send(connection: socket.socket, steps: tuple[bytes | float, ...]) -> None:
    for step in steps:
        if isinstance(step, float):
            await asyncio.sleep(step)
        else:
            await asyncio.get_running_loop().sock_sendall(connection, step)


async def _receive(connection: socket.socket, received: _Received) -> None:
    """Read until the server ends the connection; never interrupted, since that could lose what was read."""
    with contextlib.suppress(ConnectionError):
        while block := await asyncio.get_running_loop().sock_recv(connection, BLOCK):
            if not received.data:
                received.first_s = time.perf_counter()
            received.data += block


def parse_answers(data: bytes, is_whole: bool) -> tuple[list[Outcome], bytes]:
    r"""The outcomes of complete answers, and the bytes behind them.

    Args:
        data: bytes of a connection from its beginning.
        is_whole: nothing follows them, so an answer without a length ends with them.

    >>> parse_answers(b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", False)
    ([(204, ''), (200, '')], b'')
    >>> parse_answers(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{", False)
    ([], b'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{')
    """
    outcomes: list[Outcome] = []
    while True:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            return outcomes, data
        status = int(head[9:12])
        headers = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
        length = _length(status, headers, len(rest) if is_whole else None)
        if length is None or len(rest) < length:
            return outcomes, data
        if status >= 200:  # those below announce an answer
            outcomes.append((status, _code(headers, rest[:length])))
        data = rest[length:]


def _length(status: int, headers: dict[bytes, bytes], otherwise: int | None) -> int | None:
    if b"content-length" in headers:
        return int(headers[b"content-length"])
    return 0 if status < 200 or status in (204, 304) else otherwise


def _code(headers: dict[bytes, bytes], body: bytes) -> str:
    if b"access-control-allow-origin" in headers:
        return FOREIGN_ORIGIN_ALLOWED
    if b"application/problem+json" not in headers.get(b"content-type", b""):
        return ""
    code: str = json.loads(body)["code"]
    return code
