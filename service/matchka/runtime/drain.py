"""How a process leaves without losing a request: it says so first, goes on answering for a while, and then stops.

SIGTERM begins it. From then on /readyz answers 503 and every answer ends its connection, so that whatever stands before
the service, and every client, goes elsewhere for its next request. When the grace period is over, the server takes no
more connections, closes those that are idle, waits for the requests in flight, and ends. SIGINT, of somebody at a
terminal, has no grace period. A second signal ends it, and one more the wait for requests in flight.
"""

import logging
import math
import signal
import time
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Final

import uvicorn
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from matchka.errors import DrainingError
from matchka.runtime.unread_body import drop_rest

TICKS_PER_BEAT: Final = 10  # of the server: a second
LOGGER: Final = logging.getLogger("matchka")


class Drain:
    """Whether a process is leaving, and for how long it still takes requests.

    Attributes: grace_s: seconds from SIGTERM on; none until somebody may have been told to send requests here.
    """

    def __init__(self) -> None:
        self.grace_s = 0.0
        self._until_s = math.inf  # monotonic; finite from the first signal on

    @property
    def is_draining(self) -> bool:
        """Whether the process is leaving."""
        return self._until_s < math.inf

    @property
    def is_over(self) -> bool:
        """Whether it takes no more requests."""
        return time.monotonic() >= self._until_s

    def begin(self, at_once: bool = False) -> None:
        """Begin to leave; one that has begun takes no more requests from here on."""
        grace_s = 0.0 if at_once or self.is_draining else self.grace_s
        self._until_s = time.monotonic() + grace_s

    def require_serving(self) -> None:
        """Refuse to be called ready. Raises: DrainingError: the process is leaving."""
        if self.is_draining:
            raise DrainingError(
                "The service is about to stop and takes no new clients.",
                remedy="Send requests to another replica, or try again after the seconds in Retry-After.",
            )


class ClosingAnswers:
    """ASGI application around another: while the process leaves, every answer ends its connection.

    Args:
        app: what answers.
        drain: of the process.
    """

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self._app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_read = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        is_ours = False  # whether nobody but this closes the connection

        async def noting_receive() -> Message:
            nonlocal is_read
            message = await receive()
            is_read = is_read or not message.get("more_body", False)
            return message

        async def closing_send(message: Message) -> None:
            nonlocal is_ours
            if message["type"] == "http.response.start" and self._drain.is_draining:
                is_ours = all(name.lower() != b"connection" for name, _ in message["headers"])
                closing = [(b"connection", b"close")] if is_ours else []
                message = {**message, "headers": [*message["headers"], *closing]}
            elif is_ours and not is_read and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await drop_rest(receive, math.inf)
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        await self._app(scope, noting_receive, closing_send)


class DrainingServer(uvicorn.Server):
    """A server that leaves as this module says.

    Args:
        config: its application has ClosingAnswers of the same drain around it.
        drain: of the process.
        beat: called about once a second while the event loop goes round, whatever the wall clock does.
    """

    def __init__(self, config: uvicorn.Config, drain: Drain, beat: Callable[[], Awaitable[None]] | None = None) -> None:
        super().__init__(config)
        self._drain = drain
        self._beat = beat
        self._is_announced = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Act on a signal."""
        self.force_exit = self.should_exit  # requests in flight are waited for no more
        self._drain.begin(at_once=sig != signal.SIGTERM)
        if self._drain.is_over:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Look, ten times a second, whether to stop."""
        if self._drain.is_over and not self.should_exit:
            super().handle_exit(signal.SIGTERM, None)
        elif self._drain.is_draining and not self._is_announced:
            self._is_announced = True
            LOGGER.info("leaving: not ready any more, and requests are still taken for %g s", self._drain.grace_s)
        if self._beat is not None and counter % TICKS_PER_BEAT == 0:
            await self._beat()
        return await super().on_tick(counter)
