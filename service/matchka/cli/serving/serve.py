"""`matchka serve`: run the service, in this process or in several. What one process alone needs is imported there."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Final

import typer

from matchka.cli.output.errors import FAILED, reported_errors
from matchka.errors import MatchkaError, SettingsError, extra_required
from matchka.runtime.http_protocol import allow_many_connections
from matchka.runtime.process import forbid_core_dumps, use_one_blas_thread
from matchka.runtime.processes.count import OWN_SHARE, files_of_cgroups, suitable_count, usable_cores, usable_memory_mib
from matchka.runtime.telemetry.logs import LogFormat, configure_logging
from matchka.runtime.tls import ServerCertificate
from matchka.settings import Settings, read_settings

BACKLOG: Final = 2048  # connections the kernel holds while the loop is busy
LOGGER: Final = logging.getLogger("matchka")

serve_command = typer.Typer(add_completion=False)


@serve_command.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address; MATCHKA_HOST or 127.0.0.1 by default.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; MATCHKA_PORT or 8000 by default.")] = None,
    models: Annotated[
        str | None, typer.Option(help="Models to serve, separated by commas; MATCHKA_MODELS or all by default.")
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            help="Processes on one port and one store, each with models and galleries in its own memory; "
            "MATCHKA_PROCESSES or as many as suit cores and memory by default."
        ),
    ] = None,
) -> None:
    """Run the service until it is stopped."""
    with reported_errors():
        settings = read_settings(host=host, port=port, models=models, processes=processes)
        settings = settings.with_processes(_suitable_processes)
        settings.require_key_beyond_loopback()
        settings.require_room_for_processes()
        certificate_of(settings)
        use_one_blas_thread()
        run = _runner(settings)
        allow_many_connections()
        forbid_core_dumps()
        os.umask(0o077)  # templates are biometric data: what the service writes is its own user's
        configure_logging(settings.log_level, settings.log_format)
        # the server hands SIGTERM on when it has drained; leaving by an exception closes the store and the socket
        signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(0))
        with refusal_logged(settings.log_format), ExitStack() as stack:
            listener = stack.enter_context(_bound_socket(settings.host, settings.port))
            beside = settings.health_port and stack.enter_context(_bound_socket(settings.host, settings.health_port))
            status = run(settings, listener, beside or None)
            if status:
                raise typer.Exit(status)


def _runner(settings: Settings) -> Callable[[Settings, socket.socket, socket.socket | None], int]:
    """What runs the service, imported before anything is logged: libraries tell how they are loaded."""
    if settings.processes != 1:
        from matchka.cli.serving.processes import run_processes  # loads none of what serves: that is for its processes

        return run_processes
    with extra_required("cpu"):
        from matchka.cli.serving.server import run_server
    return run_server


def _suitable_processes(settings: Settings) -> int:
    """How many processes this machine suits, with what is enrolled now."""
    try:
        enrolled_mib = settings.own_database.stat().st_size / 2**20
    except OSError:  # nobody is enrolled yet, or the folder is refused where it is opened
        enrolled_mib = 0.0
    cores = usable_cores(settings.cores, files_of_cgroups("cpu.max"))
    memory_mib = usable_memory_mib(files_of_cgroups("memory.max", "memory.limit_in_bytes"))
    are_held_once = settings.gallery == "faiss" and settings.device == "cpu" and sys.platform == "linux"
    own_share = OWN_SHARE if are_held_once else 1.0
    return suitable_count(cores, memory_mib, enrolled_mib, own_share)


@contextmanager
def refusal_logged(log_format: LogFormat) -> Iterator[None]:
    """In a log of JSON an error that ends the service is a line of its own; else reported_errors tells it to people."""
    try:
        yield
    except MatchkaError as error:
        if log_format == "text":
            raise
        LOGGER.critical("%s", error)
        raise typer.Exit(FAILED) from error


def certificate_of(settings: Settings) -> ServerCertificate | None:
    """The certificate of the settings, if they name one.

    Raises: SettingsError: they name half of it, or it cannot be used.
    """
    settings.require_whole_certificate()
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return ServerCertificate(settings.tls_certificate, settings.tls_key)


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
