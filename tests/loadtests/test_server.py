"""The launcher: a server that dies is noticed at once, none outlives who started it, and its port is a lasting one."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from loadtests.server import ServerFailedError, ServerProcess, free_port, start_process
from tests.factories.checkout import ROOT

LONG_S = 600.0
WITH_CHILD = """
import subprocess, time
print(subprocess.Popen(["sleep", "600"]).pid, flush=True)
time.sleep(600)
"""


STARTING = """
import sys, time
from pathlib import Path
from loadtests.server import start_process
LASTING = "import time; print(1, flush=True); time.sleep(600)"
folder = Path(sys.argv[1])
server = start_process([sys.executable, "-c", LASTING], 1, folder / "log", {})
while not server.log_tail():
    time.sleep(0.01)
print(server.process.pid, flush=True)
time.sleep(600)
"""
WITH_FIXTURE = """
import sys, time
from pathlib import Path
import pytest
from loadtests.server import start_process
HERE = Path(__file__).parent
LASTING = "import time; print(1, flush=True); time.sleep(600)"

@pytest.fixture
def server():
    started = start_process([sys.executable, "-c", LASTING], 1, HERE / "log", {})
    yield started
    (HERE / "closed").touch()

def test_long(server):
    while not server.log_tail():
        time.sleep(0.01)
    (HERE / "pid").write_text(f"{server.process.pid}\\n")
    time.sleep(600)
"""


def started(program: str, folder: Path) -> ServerProcess:
    return start_process([sys.executable, "-c", program], free_port(), folder / "log", {})


def has_child(server: ServerProcess) -> bool:
    return server.log.read_text().endswith("\n")


def require_gone(pid: int) -> None:
    status = Path(f"/proc/{pid}/stat")
    until(lambda: not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z")  # reaped or not


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_over(server: ServerProcess) -> bool:
    return server.process.wait(60) is not None


def test_wait_for_a_server_that_dies_ends_with_its_status_and_the_end_of_its_log(tmp_path: Path) -> None:
    server = started("import sys; print(*range(1000), sep=chr(10)); print('no bundle'); sys.exit(3)", tmp_path)
    began = time.monotonic()
    with pytest.raises(ServerFailedError, match=r"ended with 3 at its start:\n981\n[\d\n]*999\nno bundle$"):
        server.wait_until_ready(LONG_S)
    assert time.monotonic() - began < LONG_S / 4


def test_wait_for_a_server_that_is_never_ready_ends_at_the_bound_and_end_leaves_nothing(tmp_path: Path) -> None:
    server = started(WITH_CHILD, tmp_path)
    with pytest.raises(ServerFailedError, match=r"not ready after 0\.5 s"):
        server.wait_until_ready(0.5)
    server.wait_until_ready(LONG_S, lambda _port: has_child(server))
    server.end()
    require_gone(int(server.log.read_text()))


def test_kill_of_a_server_whose_child_outlives_it_is_a_failure(tmp_path: Path) -> None:
    server = started(WITH_CHILD, tmp_path)
    server.wait_until_ready(LONG_S, lambda _port: has_child(server))
    with pytest.raises(ServerFailedError, match="outlived"):
        server.kill()
    server.end()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="no signal at a parent's death here")
def test_server_whose_starter_is_killed_ends(tmp_path: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTING, str(tmp_path)], cwd=ROOT, env={"PYTHONPATH": ""}, stdout=subprocess.PIPE
    )
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    starter.kill()
    starter.communicate(timeout=60)
    require_gone(pid)


@pytest.mark.slow
def test_server_of_a_test_run_that_is_terminated_ends_and_fixtures_are_closed(tmp_path: Path) -> None:
    (tmp_path / "test_long.py").write_text(WITH_FIXTURE)
    options = ["-p", "tests.conftest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, str(tmp_path / "test_long.py")], cwd=ROOT, stdout=subprocess.PIPE
    )
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"))
    run.terminate()
    said, _ = run.communicate(timeout=60)
    require_gone(int((tmp_path / "pid").read_text()))
    assert (tmp_path / "closed").exists()
    assert b"KeyboardInterrupt" in said


def test_started_process_gets_no_settings_of_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATCHKA_API_KEY", "of-this-shell")
    program = "import os; print(sorted(name for name in os.environ if name.startswith('MATCHKA_')))"
    server = start_process([sys.executable, "-c", program], 1, tmp_path / "log", {"MATCHKA_PORT": "7"})
    assert is_over(server)
    assert server.log.read_text() == "['MATCHKA_PORT']\n"


def test_free_ports_are_below_those_of_outgoing_connections() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(10_000 <= free_port() < first for _ in range(200))
