"""ASGI middleware: body size and in-flight limits.

What is refused is decided by the request's head alone where it can be, and holds nothing while it is answered.
"""

import math
from collections import Counter
from typing import Final

from prometheus_client import Gauge
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from matchka.api.guards.account import account_of, tenant_of
from matchka.api.guards.refusal_pace import RefusalPace
from matchka.api.problems import problem_response
from matchka.errors import BodyTooLargeError, MatchkaError, OverloadedError
from matchka.runtime.fairness.account import Account
from matchka.runtime.fairness.shares import has_room
from matchka.runtime.load_shedding import LoadShedder
from matchka.runtime.request_connection import connection_of
from matchka.runtime.unread_body import drop_rest

LINGER_BODIES: Final = 4  # and may send this many times the limit, read and thrown away
MIB: Final = 1 << 20
LEFT_TO_SERVER_BYTES: Final = MIB  # of a refused body; the rest of most samples is less
GUARDED_PREFIX: Final = "/v1/"


class Refused(BaseException):  # an Exception would be caught by the handlers of errors
    """Unwinds all that has begun for a request, past every handler, up to Refusals, which answers it.

    Args:
        error: what the caller is told.
        hangs_up: the connection is to be ended without an answer; one that cannot be gets it, and is closed.
    """

    def __init__(self, error: MatchkaError, hangs_up: bool = False) -> None:
        super().__init__(str(error))
        self.response = problem_response(error)
        self.hangs_up = hangs_up


class Refusals:
    """ASGI middleware: answers what is refused further in, where nothing is held for the request any more.

    A client that is still sending its body mostly reads no answer before it has sent everything, and closing at once
    would look like a crash. A short rest is left to the server, which reads and drops it within the time that it gives
    an idle connection, and the connection is used again; what is longer or of unknown length is read and dropped here
    for a while, and the connection closed. Callers that come again at once wait for their refusals (RefusalPace); where
    too many wait, nothing is read for the others, and their connections are closed with the answer.

    Args:
        app: what is behind it.
        max_body_mib: largest body.
    """

    def __init__(self, app: ASGIApp, max_body_mib: float) -> None:
        self._app = app
        self._most_drained_bytes = int(max_body_mib * MIB) * LINGER_BODIES
        self._pace = RefusalPace()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        is_read = False

        async def noting_receive() -> Message:
            nonlocal is_read
            message = await receive()
            is_read = not message.get("more_body", False)
            return message

        try:
            await self._app(scope, noting_receive, send)
        except Refused as refused:
            connection, tenant = connection_of(scope), tenant_of(scope)
            if refused.hangs_up and connection.hang_up():
                return
            connection.note_refused()
            is_in_time = tenant is None or await self._pace.wait(tenant)
            version = scope.get("http_version", "1.1")
            has_rest = refused.hangs_up or (not is_read and _needs_to_linger(Headers(scope=scope), version))
            ending = self._ending(receive, send, self._most_drained_bytes if is_in_time else 0) if has_rest else send
            await refused.response(scope, receive, ending)

    def _ending(self, receive: Receive, send: Send, most_drained_bytes: int) -> Send:
        """What sends an answer, reads and drops so much of the body, and closes the connection."""

        async def send_then_end(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send({**message, "headers": [*message["headers"], (b"connection", b"close")]})
                return
            await send({**message, "more_body": True})
            await drop_rest(receive, most_drained_bytes)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        return send_then_end


class BodyLimit:
    """ASGI middleware: refuses a body as soon as it passes the limit, by its announced length or by counting.

    The announced length counts against the share of its own account (has_room), so that a body beyond it is refused at
    its head; other accounts lose only the room of what arrived.

    Args:
        app: what is behind it.
        max_body_mib: largest body.
        max_bodies_mib: largest sum of the bodies of one account at once; one body is always let in.
        gauge: shows the bytes of all bodies that are here.
    """

    def __init__(
        self, app: ASGIApp, max_body_mib: float, max_bodies_mib: float = math.inf, gauge: Gauge | None = None
    ) -> None:
        self._app = app
        self._max_bytes = int(max_body_mib * MIB)
        self._max_body_mib = max_body_mib
        self._max_all_bytes = max_bodies_mib * MIB
        self._gauge = gauge or Gauge("bytes", "Shown nowhere", registry=None)
        self._arrived: Counter[Account] = Counter()  # bytes
        self._expected: Counter[Account] = Counter()  # the same, or the announced length of a body that is longer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = _announced_bytes(Headers(scope=scope)) or 0
        if announced > self._max_bytes:
            raise self._too_large(f"{announced}")
        account, received, expected = account_of(scope), 0, 0

        async def counted_receive() -> Message:
            nonlocal received, expected
            message = await receive()
            size = received + len(message.get("body", b""))
            if size > self._max_bytes:
                raise self._too_large(f"more than {self._max_bytes}")
            self._grown(self._arrived, account, received, size)
            self._gauge.inc(size - received)
            received = size
            expected = self._grown(self._expected, account, expected, max(expected, size))
            return message

        try:
            expected = self._grown(self._expected, account, 0, announced)
            await self._app(scope, counted_receive, send)
        finally:
            self._gauge.dec(received)
            for bytes_by_account, size in ((self._arrived, received), (self._expected, expected)):
                bytes_by_account[account] -= size
                if not bytes_by_account[account]:
                    del bytes_by_account[account]

    def _grown(self, bytes_by_account: Counter[Account], account: Account, before: int, size: int) -> int:
        """Count a body as `size` bytes, of which `before` are counted already.

        Args:
            bytes_by_account: where it is counted: what arrived, or what is expected.
            account: the caller's.
            before: bytes of this body that are counted already.
            size: new size, >= before.

        Returns: `size`.
        Raises: Refused: other bodies are here, and there is no room beside them in the account's share.
        """
        if size == before:
            return size
        mine = bytes_by_account[account]
        held = {**self._arrived, account: mine}
        is_alone = sum(held.values()) == before
        if not is_alone and not has_room(held, account, size - before, self._max_all_bytes):
            raise self._too_many()
        bytes_by_account[account] = mine + size - before
        return size

    def _too_large(self, size: str) -> Refused:
        return Refused(
            BodyTooLargeError(
                f"The body is larger than {self._max_body_mib:g} MiB.",
                value=f"{size} bytes",
                remedy="Send fewer or shorter files, or compress them (FLAC, OGG).",
            )
        )

    def _too_many(self) -> Refused:
        return Refused(
            OverloadedError(
                f"The bodies of all requests would take more than {self._max_all_bytes / MIB:g} MiB of memory.",
                remedy="Try again after the seconds in Retry-After.",
            )
        )


class InFlightLimit:
    """ASGI middleware: answers 503 with Retry-After when too many requests are in flight, or would wait too long.

    Args:
        app: what is behind it.
        max_in_flight: most requests of one account; some places more are kept for others (has_room).
        load_shedder: says what would wait too long.
        gauge: shows how many are in flight.
    """

    def __init__(
        self, app: ASGIApp, max_in_flight: int, load_shedder: LoadShedder | None = None, gauge: Gauge | None = None
    ) -> None:
        self._app = app
        self._max_in_flight = max_in_flight
        self._load_shedder = load_shedder
        self._gauge = gauge or Gauge("requests", "Shown nowhere", registry=None)
        self._in_flight: Counter[Account] = Counter()  # requests
        self._is_full = OverloadedError(
            f"As many requests of this key are in flight as the service accepts: {max_in_flight}, or less while others "
            "ask as well.",
            remedy="Try again after the seconds in Retry-After.",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not scope["path"].startswith(GUARDED_PREFIX):
            await self._app(scope, receive, send)
            return
        account = account_of(scope)
        self._require_room(account)
        self._in_flight[account] += 1
        self._gauge.inc()
        try:
            await self._app(scope, receive, send)
        finally:
            self._gauge.dec()
            self._in_flight[account] -= 1
            if not self._in_flight[account]:
                del self._in_flight[account]

    def _require_room(self, account: Account) -> None:
        if not has_room(self._in_flight, account, 1, self._max_in_flight):
            raise Refused(self._is_full)
        if self._load_shedder is not None:
            try:
                self._load_shedder.require_room(account=account)
            except OverloadedError as error:
                raise Refused(error) from error


def _announced_bytes(headers: Headers) -> int | None:
    """The length that a body is said to have; None where none is said."""
    announced = headers.get("content-length", "")
    return int(announced) if announced.isascii() and announced.isdecimal() else None


def _needs_to_linger(headers: Headers, http_version: str) -> bool:
    """Whether what is left of a body is too much for the server, or would meet a connection that it closes at once."""
    announced = _announced_bytes(headers)
    if announced is None:
        return "transfer-encoding" in headers
    is_closed = http_version == "1.0" or "close" in headers.get("connection", "").lower()
    # who waits for "100 Continue" never sends the body, and the server would take the next request for it
    return announced > LEFT_TO_SERVER_BYTES or (announced > 0 and (is_closed or "expect" in headers))
