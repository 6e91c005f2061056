"""`matchka serve`: run the service."""

import logging
import os
import signal
import socket
import sys
from contextlib import ExitStack
from ipaddress import ip_network
from typing import Annotated, Final

import typer
import uvicorn
from fastapi import FastAPI

from matchka.api.problems import problem_response
from matchka.api.telemetry import Telemetry
from matchka.app import create_app, create_health_app, opened_verifier
from matchka.cli.client_commands import FAILED, reported_errors
from matchka.errors import OverloadedError, SettingsError
from matchka.runtime.drain import ClosingAnswers, Drain, DrainingServer
from matchka.runtime.health_listener import serving_beside
from matchka.runtime.http_protocol import (
    ANSWER_HEADERS,
    Bounds,
    RequestWatch,
    allow_many_connections,
    bounded_protocol,
    raw_answer,
)
from matchka.runtime.process import forbid_core_dumps, tune_process
from matchka.runtime.tls import ServerCertificate
from matchka.settings import Settings, read_settings

SHUTDOWN_S: Final = 30  # requests in flight at SIGTERM get this long
BACKLOG: Final = 2048  # connections the kernel holds while the loop is busy
LOGGER: Final = logging.getLogger("matchka")
HEALTH_CONNECTIONS: Final = 256  # to the listener for health

serve_command = typer.Typer(add_completion=False)


@serve_command.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address; MATCHKA_HOST or 127.0.0.1 by default.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; MATCHKA_PORT or 8000 by default.")] = None,
    models: Annotated[
        str | None, typer.Option(help="Models to serve, separated by commas; MATCHKA_MODELS or all by default.")
    ] = None,
) -> None:
    """Run the service until it is stopped."""
    with reported_errors():
        settings = read_settings(host=host, port=port, models=models)
        settings.require_key_beyond_loopback()
        certificate = _certificate(settings)
        allow_many_connections()
        forbid_core_dumps()
        os.umask(0o077)  # templates are biometric data: what the service writes is its own user's
        logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
        # the server hands SIGTERM on when it has drained; leaving by an exception closes the store and the socket
        signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(0))
        with ExitStack() as stack:
            listener = stack.enter_context(_bound_socket(settings.host, settings.port))
            beside = settings.health_port and stack.enter_context(_bound_socket(settings.host, settings.health_port))
            tune_process()
            telemetry = Telemetry()
            verifier = stack.enter_context(opened_verifier(settings, telemetry))
            application = create_app(settings, verifier, telemetry)
            state = application.state.service
            signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(FAILED if state.has_failed else 0))
            config = _server_config(application, settings, settings.max_connections, certificate, state.drain)
            server = DrainingServer(config, state.drain)
            if beside:
                health = create_health_app(settings, state)
                config = _server_config(health, settings, HEALTH_CONNECTIONS, certificate, state.drain)
                stack.enter_context(serving_beside(config, beside))
            LOGGER.info("listening on %s", _address(settings, is_secured=certificate is not None))
            server.run(sockets=[listener])
            if state.verifier is None:
                raise typer.Exit(FAILED)


def _certificate(settings: Settings) -> ServerCertificate | None:
    """The certificate of the settings, if they name one.

    Raises: SettingsError: they name half of it, or it cannot be used.
    """
    settings.require_whole_certificate()
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return ServerCertificate(settings.tls_certificate, settings.tls_key)


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
        log_level=settings.log_level,
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


def _bound_socket(host: str, port: int) -> socket.socket:
    """Take a port before anything is loaded, so that a port in use is said at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small answers at once (TCP_NODELAY) only where the protocol is named
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # a port whose last owner was killed can be taken again at once
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"The service cannot listen there: {error.strerror}.",
            value=f"{host}:{port}",
            remedy="Choose another port with --port (PORT= with make), or stop what uses this one.",
        ) from error
    listener.listen(BACKLOG)
    return listener
