"""One process of `matchka serve`: the application and its server, on sockets that are bound already."""

import logging
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import ip_network
from typing import Final

import uvicorn
from fastapi import FastAPI

from matchka.api.problems import problem_response
from matchka.api.telemetry import Telemetry
from matchka.app import create_app, create_health_app, opened_verifier
from matchka.cli.output.errors import FAILED
from matchka.cli.serving.serve import certificate_of
from matchka.errors import OverloadedError
from matchka.runtime.drain import ClosingAnswers, Drain, DrainingServer
from matchka.runtime.health_listener import serving_beside
from matchka.runtime.http_protocol import (
    ANSWER_HEADERS,
    Bounds,
    RequestWatch,
    bounded_protocol,
    raw_answer,
)
from matchka.runtime.process import tune_process
from matchka.runtime.processes.siblings import NoSiblings, Siblings
from matchka.runtime.tls import ServerCertificate
from matchka.settings import Settings

SHUTDOWN_S: Final = 30  # requests in flight at SIGTERM get this long
LOGGER: Final = logging.getLogger("matchka")
HEALTH_CONNECTIONS: Final = 256  # to the listener for health


def run_server(
    settings: Settings,
    listener: socket.socket,
    beside: socket.socket | None,
    join: Callable[[Telemetry], Siblings] = lambda _telemetry: NoSiblings(),
) -> int:
    """Run one process of the service until it is stopped.

    Args:
        settings: of this process.
        listener: bound; closed at the end.
        beside: the same, for /healthz, /readyz and /metrics only; None where there is none.
        join: makes what this process has to do with others of the service, to whom it shows its metrics.

    Returns: the exit status.
    """
    certificate = certificate_of(settings)
    tune_process()
    telemetry = Telemetry()
    siblings = join(telemetry)
    with ExitStack() as stack:
        verifier = stack.enter_context(opened_verifier(settings, telemetry, siblings))
        application = create_app(settings, verifier, telemetry, siblings)
        state = application.state.service
        signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(FAILED if state.has_failed else 0))
        config = _server_config(application, settings, settings.max_connections, certificate, state.drain)
        server = DrainingServer(config, state.drain, siblings.beat)
        if beside:
            health = create_health_app(settings, state)
            config = _server_config(health, settings, HEALTH_CONNECTIONS, certificate, state.drain)
            stack.enter_context(serving_beside(config, beside))
        if siblings.is_first:
            LOGGER.info("listening on %s", _address(settings, is_secured=certificate is not None))
        server.run(sockets=[listener])
        return FAILED if state.verifier is None else 0


def _address(settings: Settings, is_secured: bool) -> str:
    host = f"[{settings.host.strip('[]')}]" if ":" in settings.host else settings.host
    return f"{'https' if is_secured else 'http'}://{host}:{settings.port}"


def _server_config(
    application: FastAPI,
    settings: Settings,
    max_connections: int,
    certificate: ServerCertificate | None = None,
    drain: Drain | None = None,
) -> uvicorn.Config:
    tls = None if certificate is None else certificate.context
    return uvicorn.Config(
        RequestWatch(ClosingAnswers(application, drain or Drain())),
        # uvloop would be used where it is installed, and takes one new connection in each of its rounds: under a flood,
        # when a round is long, /healthz waited for a quarter of a minute to be accepted
        loop="asyncio",
        log_config=None,  # its lines are the process's
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=_as_any_version(settings.trusted_proxies),
        headers=ANSWER_HEADERS,
        timeout_graceful_shutdown=SHUTDOWN_S,
        http=bounded_protocol(Bounds(settings.max_idle_s, max_connections, _too_many(max_connections), tls)),
        ws="none",  # another protocol would take the connection over, with no bounds
    )


def _too_many(max_connections: int) -> bytes:
    problem = problem_response(
        OverloadedError(
            f"{max_connections} connections are open, as many as the service accepts.",
            remedy="Try again after the seconds in Retry-After, and use connections again.",
        )
    )
    return raw_answer("503 Service Unavailable", problem.headers.items(), bytes(problem.body))


def _as_any_version(proxies: tuple[str, ...]) -> list[str]:
    """The proxies, and how a listener of IPv6 shows those that have an IPv4 address.

    >>> _as_any_version(("10.0.0.0/8", "::1"))
    ['10.0.0.0/8', '::ffff:10.0.0.0/104', '::1/128']
    """
    networks = []
    for proxy in map(ip_network, proxies):
        networks.append(str(proxy))
        if proxy.version == 4:
            networks.append(f"::ffff:{proxy.network_address}/{96 + proxy.prefixlen}")
    return networks
