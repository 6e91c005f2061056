"""Run a command beside a server of its own, and say how much memory that took.

    python -m loadtests.with_server --port 8009 --out build/load -- COMMAND …

The server's log and data go to `--out`. When the server dies, the command is stopped with it.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from loadtests.server import ServerFailedError, ServerProcess, start_server, status_of

START_BOUND_S = 120.0
LOOK_EVERY_S = 0.2
TERMINATED = 128 + signal.SIGTERM


def main() -> NoReturn:
    """Run a command beside a server; exit with its status, or with 1 where the server did not live as long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="emptied first")
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    sys.exit(status_beside_server(arguments.port, arguments.out, arguments.models_dir, arguments.command))


def status_beside_server(
    port: int,
    out: Path,
    models_dir: Path,
    command: list[str],
    before: Callable[[], Mapping[str, str]] = dict,
    **settings: object,
) -> int:
    """The exit status of a command that runs beside a server.

    Args:
        port: of the server.
        out: emptied first; the server's log and data go there.
        models_dir: bundles.
        command: to run.
        before: what has to be done before the server starts; returns variables for the command.
        settings: of the server, see loadtests.server.start_server.

    Exits with 1 where the server did not start, or did not live as long.
    """
    if status_of(port, "/readyz"):
        sys.exit(f"A service already answers on port {port}; choose another with PORT=")
    shutil.rmtree(out, ignore_errors=True)
    log = out / "server.log"
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(TERMINATED))
    environment = {**os.environ, **before()}
    server = start_server(port, out / "data", models_dir, log, **settings)
    try:
        server.wait_until_ready(START_BOUND_S)
        _say(f"ready after {server.ready_after_s:.1f} s; before, {_memory(server)}")
        status = _run_beside(server, command, environment)
        _say(f"after, {_memory(server)}")
        return status
    except ServerFailedError as error:
        sys.exit(str(error))
    finally:
        server.end()


def _run_beside(server: ServerProcess, command: list[str], environment: Mapping[str, str]) -> int:
    with subprocess.Popen(command, env=environment) as task:
        try:
            while task.poll() is None:
                if server.process.poll() is not None:
                    raise ServerFailedError(f"the server ended with {server.process.returncode}:\n{server.log_tail()}")
                with suppress(subprocess.TimeoutExpired):
                    task.wait(LOOK_EVERY_S)
        finally:
            task.terminate()
        return task.returncode


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _memory(server: ServerProcess) -> str:
    return f"resident memory: {server.memory_mib():.0f} MiB, its peak: {server.memory_mib('VmHWM'):.0f} MiB"


if __name__ == "__main__":
    main()
