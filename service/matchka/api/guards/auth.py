"""The middleware that requires a key, and no more requests with it than it may send."""

import asyncio
import re
from collections import Counter
from typing import Final, NoReturn

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from matchka.api.guards.account import note_tenant
from matchka.api.guards.audit_trail import note_caller
from matchka.api.guards.failed_keys import INTERVAL_S, LONGEST_S, FailedKeys, network_of
from matchka.api.guards.key_ring import KeyRing
from matchka.api.guards.middleware import GUARDED_PREFIX, Refused
from matchka.api.guards.rates import RequestRates
from matchka.errors import TooManyRequestsError, UnauthorizedError
from matchka.runtime.request_connection import connection_of

METRICS_PATH: Final = "/metrics"
DOCS: Final = re.compile(r"/openapi\.json|/docs(/.*)?", re.DOTALL)
MOST_WAITING: Final = 128  # refusals at once; what a caller has sent of its body meanwhile stays in memory
MOST_WAITING_OF_ONE: Final = round(LONGEST_S / INTERVAL_S)  # of one network: as many as go out in the longest wait


class KeyGate:
    """ASGI middleware: refuses a caller without a valid key, or beyond its rate, before anything else is done for it.

    So such a caller holds no place in flight, none of its body is read or counted, and only the refusals of an address
    that comes again and again wait, 25 of a network and 128 in all. Beyond that the connection ends unanswered, so that
    more connections try no more keys.

    Args:
        app: what is behind it.
        keys: those in force.
        failed: what is remembered of refused callers.
        guards_docs: whether /docs and /openapi.json need a key as well.
        rates: counts the requests of keys.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: KeyRing,
        failed: FailedKeys,
        guards_docs: bool = True,
        rates: RequestRates | None = None,
    ) -> None:
        self._app = app
        self._keys = keys
        self._failed = failed
        self._guards_docs = guards_docs
        self._rates = rates or RequestRates()
        self._waiting: Counter[str] = Counter()  # by network

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and self._is_guarded(scope["path"]):
            try:
                grant = self._keys.grant_of(Headers(scope=scope).get("authorization"))
                note_tenant(scope, grant.tenant)
                note_caller(grant)
                self._rates.take(grant)
            except UnauthorizedError as error:
                await self._refuse(scope, error)
            except TooManyRequestsError as error:
                raise Refused(error) from error
            connection_of(scope).note_authorised()
        await self._app(scope, receive, send)

    def _is_guarded(self, path: str) -> bool:
        """Whether a path needs a key; every one that does has to be here, or keys could be tried there unslowed."""
        if path.startswith(GUARDED_PREFIX) or path == METRICS_PATH:
            return True
        return self._guards_docs and DOCS.fullmatch(path) is not None

    async def _refuse(self, scope: Scope, error: UnauthorizedError) -> NoReturn:
        address, _ = scope.get("client") or ("unknown", 0)
        seconds, network = self._failed.note(address), network_of(address)
        connection_of(scope).note_refused()
        if seconds:
            if self._waiting[network] >= MOST_WAITING_OF_ONE or self._waiting.total() >= MOST_WAITING:
                raise Refused(error, hangs_up=True)
            await self._wait(seconds, network)
        raise Refused(error) from error

    async def _wait(self, seconds: float, network: str) -> None:
        self._waiting[network] += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._waiting[network] -= 1
            if not self._waiting[network]:
                del self._waiting[network]
