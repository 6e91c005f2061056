"""loadtests/with_server.py: it does not wait for a server that has died."""

import socket
import subprocess
import sys
from pathlib import Path

from loadtests.server import free_port
from tests.factories.checkout import ROOT

TIMEOUT_S = 100.0  # less than the 120 s that it waits for a server to get ready
MARK = "import pathlib; pathlib.Path('ran').touch()"


def run_beside_server(folder: Path, port: int, models_dir: Path, program: str) -> subprocess.CompletedProcess[str]:
    options = ["--port", str(port), "--out", str(folder / "out"), "--models-dir", str(models_dir)]
    command = [sys.executable, "-m", "loadtests.with_server", *options, "--", sys.executable, "-c", program]
    environment = {"PATH": "", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, timeout=TIMEOUT_S, capture_output=True, text=True, check=False
    )


def test_command_beside_a_server_that_cannot_start_is_not_run_and_says_why(models_dir: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        done = run_beside_server(tmp_path, taken.getsockname()[1], models_dir, MARK)
    assert done.returncode == 1
    assert "cannot listen there" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_command_whose_server_dies_is_stopped_and_the_end_of_the_log_is_shown(models_dir: Path, tmp_path: Path) -> None:
    port = free_port()
    killing = f"""
import os, pathlib, time
for status in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if b"serve\\x00--port\\x00{port}\\x00" in status.read_bytes():
        os.kill(int(status.parent.name), 9)
time.sleep({TIMEOUT_S})
"""
    done = run_beside_server(tmp_path, port, models_dir, killing)
    assert done.returncode == 1
    assert "the server ended with -9" in done.stderr
    assert "ready after" in done.stdout


def test_command_beside_a_server_gives_its_exit_status(models_dir: Path, tmp_path: Path) -> None:
    asking = "import urllib.request, sys; sys.exit(urllib.request.urlopen('http://127.0.0.1:{}/readyz').status - 193)"
    port = free_port()
    done = run_beside_server(tmp_path, port, models_dir, asking.format(port))
    assert done.returncode == 7
    assert done.stdout.count("resident memory") == 2
