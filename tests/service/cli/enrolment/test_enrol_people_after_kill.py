"""A run that is killed or interrupted in its middle, and a server that is killed under it: run again, nothing is twice.

What is enrolled is counted through the interface: a run that nobody interrupted leaves two templates of everybody.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from loadtests.server import ServerProcess, free_port, start_server
from matchka.client import Client
from tests.factories.bundles import write_bundle
from tests.factories.faulty_proxy import faulty_proxy
from tests.factories.people import stored, write_people
from tests.factories.server_process import wait_until_ready

PEOPLE, TAKES = 30, 2
ALL = {f"p:{number}": TAKES for number in range(1, PEOPLE + 1)}
LOST_FROM = 12  # the enrolment from which on no answer arrives
BOUND_S = 120.0

pytestmark = pytest.mark.slow


@contextmanager
def served(folder: Path, port: int) -> Iterator[ServerProcess]:
    server = start_server(port, folder / "data", folder / "models", folder / f"{port}.log")
    try:
        wait_until_ready(server)
        yield server
    finally:
        server.end()


@contextmanager
def enrolling(people: Path, url: str, jobs: int) -> Iterator[subprocess.Popen[str]]:
    """`matchka enroll --from` as a process."""
    command = [sys.executable, "-m", "matchka", "enroll", "--from", str(people), "--url", url, "--json"]
    with subprocess.Popen(
        [*command, "--jobs", str(jobs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def people(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "models" / "voice")
    return write_people(tmp_path / "people", PEOPLE, TAKES)


def counts_of(process: subprocess.Popen[str]) -> dict[str, int]:
    out, err = process.communicate(timeout=BOUND_S)
    assert process.returncode == 0, err
    counts = json.loads(out)
    return {name: counts[name] for name in ("enrolled", "present", "failed", "not_reached")}


def test_run_that_is_killed_in_its_middle_and_run_again_leaves_what_one_run_does(tmp_path: Path, people: Path):
    with served(tmp_path, free_port()) as server, faulty_proxy(server.port, loses_from=LOST_FROM) as proxy:
        with enrolling(people, proxy.url, jobs=4) as process:
            assert proxy.is_losing.wait(BOUND_S)  # some are stored whose answers never arrive
            process.kill()
            assert process.wait(BOUND_S) == -signal.SIGKILL
        journal = people.with_name("people.csv.journal")
        known = journal.read_bytes().count(b"template_id")
        assert 0 < known < PEOPLE * TAKES
        journal.write_bytes(journal.read_bytes()[:-7])  # as if it had been killed while it wrote
        proxy.heal()
        sent = proxy.sent
        with enrolling(people, proxy.url, jobs=4) as process:
            counts = counts_of(process)
        assert counts["enrolled"] + counts["present"] == PEOPLE * TAKES
        assert counts["present"] >= known - 1
        assert proxy.sent - sent < PEOPLE
        with Client(server.url) as client:
            assert stored(client) == ALL


def test_server_that_is_killed_and_comes_back_does_not_end_the_run(tmp_path: Path, people: Path):
    port = free_port()
    with ExitStack() as servers, faulty_proxy(port, loses_from=LOST_FROM) as proxy:
        first = servers.enter_context(served(tmp_path, port))
        with enrolling(people, proxy.url, jobs=2) as process:
            assert proxy.is_losing.wait(BOUND_S)
            first.kill()
            proxy.heal()  # which nobody answers behind
            second = servers.enter_context(served(tmp_path, port))
            counts = counts_of(process)
        assert counts == {"enrolled": PEOPLE * TAKES, "present": 0, "failed": 0, "not_reached": 0}
        with Client(second.url) as client:
            assert stored(client) == ALL


def test_interrupted_run_finishes_what_is_under_way_and_says_how_to_go_on(tmp_path: Path, people: Path):
    with served(tmp_path, free_port()) as server, faulty_proxy(server.port, loses_from=LOST_FROM) as proxy:
        with enrolling(people, proxy.url, jobs=1) as process:
            assert proxy.is_losing.wait(BOUND_S)
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            while "finishing" not in process.stderr.readline():
                assert process.poll() is None
            proxy.heal()
            out, _ = process.communicate(timeout=BOUND_S)
        counts = json.loads(out)
        assert process.returncode == 130
        assert (counts["enrolled"], counts["failed"]) == (LOST_FROM * TAKES, 0)  # that was under way, too
        with Client(server.url) as client:
            assert sum(stored(client).values()) == LOST_FROM * TAKES
        with enrolling(people, proxy.url, jobs=4) as process:
            assert counts_of(process)["present"] == LOST_FROM * TAKES
        with Client(server.url) as client:
            assert stored(client) == ALL
