"""Host and Origin checks: without a key only loopback Host names, and no pages of other origins.

A page on the internet can make its visitor's browser call a service on loopback, directly or through a name of its own
that resolves to 127.0.0.1 (DNS rebinding). A key stops both, for a page does not know it; without one, these rules do.
"""

import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from matchka.api.guards.middleware import Refused
from matchka.errors import CrossSiteError, ForbiddenHostError, InvalidHostError, MatchkaError

HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._~-]+))(?::[0-9]{1,5})?")
# Not `same-site`: to a browser all ports of a host are one site, and another port of this machine is another program.
OWN_SITES: Final = frozenset({"same-origin", "none"})


class HostGuard:
    """ASGI middleware: refuses what must not be answered for its Host, and without a key what another origin sent.

    Args:
        app: what is behind it.
        is_keyless: tells whether no key is in force; that may change while the service runs.
    """

    def __init__(self, app: ASGIApp, is_keyless: Callable[[], bool]) -> None:
        self._app = app
        self._is_keyless = is_keyless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            try:
                require_host(headers, scope.get("http_version", "1.1"))
                if self._is_keyless():
                    require_own_site(headers)
            except MatchkaError as error:
                raise Refused(error) from error
        await self._app(scope, receive, send)


def require_host(headers: Headers, http_version: str) -> None:
    """Refuse a request of HTTP/1.1 that does not name exactly one host, as RFC 9112 (3.2) asks.

    Raises: InvalidHostError: none, an empty one, several, or no host; HTTP/1.0 may leave it out.
    """
    hosts = headers.getlist("host")
    if len(hosts) > 1 or "" in hosts or not (hosts or http_version == "1.0"):
        raise InvalidHostError(
            "A request of HTTP/1.1 has exactly one Host header.",
            value=", ".join(hosts) or "none",
            remedy="Send one; every HTTP library does.",
        )
    if hosts and HOST.fullmatch(hosts[0]) is None:
        raise InvalidHostError(
            "The Host header is a name or an address, and a port where it is not the usual one.",
            value=hosts[0],
            remedy="Send the host and port of the address that is called, and nothing else of it.",
        )


def require_own_site(headers: Headers) -> None:
    """Refuse a Host that is not this machine's, and what a page of another origin sent.

    Raises:
        ForbiddenHostError: the Host is not a loopback name.
        CrossSiteError: Origin is not this host, or Sec-Fetch-Site is neither `same-origin` nor `none`.
    """
    host = headers.get("host", "localhost")  # HTTP/1.0 has none, and no browser speaks it
    if not is_loopback_host(host):
        raise ForbiddenHostError(
            "Without an API key the service answers to localhost, 127.0.0.0/8 and ::1 only.",
            value=host,
            remedy="Use one of these names, or set MATCHKA_API_KEY.",
        )
    origin = headers.get("origin")
    if origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
        raise CrossSiteError(
            "Without an API key the service answers no pages of other origins.",
            value=origin,
            remedy="Set MATCHKA_API_KEY, and MATCHKA_ALLOWED_ORIGINS where a page has to call.",
        )
    site = headers.get("sec-fetch-site", "none")
    if site not in OWN_SITES:
        raise CrossSiteError(
            "Without an API key the service answers nothing that another site asked for.",
            value=f"Sec-Fetch-Site: {site}",
            remedy="Open the address directly, or set MATCHKA_API_KEY.",
        )


def is_loopback_host(host: str) -> bool:
    """Whether a Host header names this machine and nothing else.

    >>> [is_loopback_host(h) for h in ("localhost:8000", "LOCALHOST.", "127.8.9.10", "[::1]:80")]
    [True, True, True, True]
    >>> [is_loopback_host(h) for h in ("localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "::1")]
    [False, False, False, False]
    """
    found = HOST.fullmatch(host)
    if found is None:
        return False
    name = (found[1] or found[2]).lower().removesuffix(".")
    if name == "localhost":
        return found[1] is None
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
