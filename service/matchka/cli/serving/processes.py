"""`matchka serve --processes N`: the parent, and what it starts."""

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import sys
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import DupFd
from typing import TYPE_CHECKING, Any, Final

import typer

from matchka.cli.output.errors import reported_errors
from matchka.cli.serving.serve import refusal_logged
from matchka.errors import extra_required
from matchka.runtime.data_dir import owned_data_dir
from matchka.runtime.http_protocol import allow_many_connections
from matchka.runtime.process import end_with_parent, forbid_core_dumps
from matchka.runtime.processes.handing_over import HandedConnections
from matchka.runtime.processes.link import Link
from matchka.runtime.processes.moments import SharedMoments, gallery_files, shared_file
from matchka.runtime.processes.supervisor import HANG_S, ChildEnds, Supervisor
from matchka.runtime.telemetry.logs import configure_logging
from matchka.settings import Settings, usable_cores

if TYPE_CHECKING:
    from matchka.api.telemetry import Telemetry

STOP_S: Final = 45.0  # for requests in flight, and for what is written when a process ends
LOGGER: Final = logging.getLogger("matchka")


def run_processes(settings: Settings, listener: socket.socket, beside: socket.socket | None) -> int:
    """Run the service in as many processes as the settings say, until it is stopped.

    Args:
        settings: of the whole service.
        listener: bound; its connections are handed to the processes.
        beside: the same for a listener of health, if there is one.

    Returns: the exit status.

    Raises: DataDirInUseError: another process owns the data folder.
    """
    count = settings.processes or 1
    if count > usable_cores():
        LOGGER.warning("%d processes share %d cores: fewer would do", count, usable_cores())
    # fork would copy locks that threads of libraries hold: numpy alone starts some when it is imported
    context = multiprocessing.get_context("spawn")
    shared = (shared_file(), shared_file(), *(gallery_files() if count > 1 else ()))

    def start(number: int, ends: ChildEnds) -> SpawnProcess:
        process = context.Process(
            target=run_child,
            args=(settings, number, ends, InheritedFiles(shared)),
            name=f"matchka-{number}",
            daemon=True,
        )
        process.start()
        return process

    listeners = [listener] if beside is None else [listener, beside]
    with owned_data_dir(settings.data_dir):
        hang_s = max(HANG_S, 2 * settings.request_timeout_s)
        stop_s = settings.drain_s + STOP_S
        supervisor = Supervisor(count, start, listeners, stop_s, hang_s, settings.drain_s)
        return asyncio.run(_supervise(supervisor))


async def _supervise(supervisor: Supervisor) -> int:
    for told in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(told, supervisor.stop)
    return await supervisor.run()


class InheritedFiles:
    """Descriptors of open files, which a process that is started gets with its arguments."""

    def __init__(self, files: tuple[int, ...]) -> None:
        self.files = files

    def __reduce__(self) -> tuple[Any, ...]:
        return _inherited, tuple(DupFd(file) for file in self.files)


def _inherited(*handles: Any) -> InheritedFiles:
    return InheritedFiles(tuple(handle.detach() for handle in handles))


def run_child(settings: Settings, number: int, ends: ChildEnds, shared: InheritedFiles) -> None:
    """One of the processes, from its start to its end; leaves by SystemExit.

    Args:
        settings: of the whole service.
        number: of the process.
        ends: of its parent.
        shared: files of SharedMoments, of requests of keys and of networks that were refused, and of gallery_files().
    """
    end_with_parent()
    # Ctrl-C reaches every process of a terminal: the parent alone hears it, and ends the others
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(0))
    os.umask(0o077)
    forbid_core_dumps()
    allow_many_connections()
    own = settings.of_process(number)
    listener, *beside = (HandedConnections(end.detach()) for end in ends.listeners)
    rates, refused = (SharedMoments(file) for file in shared.files[:2])
    for file in shared.files:
        os.set_inheritable(file, False)  # no program that this process runs has them
    galleries = (shared.files[2], shared.files[3]) if len(shared.files) > 2 else None

    def join(telemetry: "Telemetry") -> Link:
        return Link(ends.channel, number, rates, refused, telemetry.snapshot, telemetry.stages.longest_s, galleries)

    try:
        with reported_errors(), refusal_logged(own.log_format):
            with extra_required("cpu"):
                from matchka.cli.serving.server import run_server  # only here: the parent would have to load it all
            configure_logging(own.log_level, own.log_format, number)
            status = run_server(own, listener, beside[0] if beside else None, join)
    except typer.Exit as ending:
        status = ending.exit_code
    sys.exit(status)
