"""`matchka serve` with two processes: they are one service to whoever calls it, whatever happens to one of them."""

import contextlib
import http.client
import os
import re
import signal
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from typer.testing import CliRunner

from loadtests.server import _group, free_port, status_of
from matchka.api.position import POSITION_HEADER
from matchka.cli.main import app
from matchka.cli.output.errors import FAILED
from tests.factories.bundles import write_bundle
from tests.factories.certificates import made
from tests.factories.postgres import fresh_database
from tests.factories.samples import sample
from tests.factories.server_process import RunningServer, start, stop

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="there is one process on Windows"),
]

BOUND_S = 120.0
KEY = "0123456789abcdef0123456789abcdef"
CALLERS = 8


@dataclass(frozen=True)
class Pair:
    """A service of two processes."""

    server: RunningServer
    port: int
    health_port: int
    variables: dict[str, str]

    def get(self, path: str, key: str = KEY) -> tuple[int, str]:
        """Ask on a connection of its own."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=BOUND_S)) as connection:
            connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def metrics(self, port: int | None = None) -> dict[str, float]:
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=BOUND_S)
        ) as connection:
            connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {KEY}"})
            lines = connection.getresponse().read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def reached_metrics(self) -> dict[str, float]:
        """The metrics; none where the process that was to answer had just been killed."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.metrics()
        return {}

    def children(self) -> list[int]:
        """The processes that serve, without Python's tracker of resources."""
        found: list[int] = []
        for file in Path(f"/proc/{self.server.process.pid}/task").glob("*/children"):
            found += [int(pid) for pid in file.read_text().split()]
        return [pid for pid in found if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@contextlib.contextmanager
def running_pair(folder: Path, **variables: str) -> Iterator[Pair]:
    if not (folder / "models").exists():
        write_bundle(folder / "models" / "voice")
    port, health_port = free_port(), free_port()
    given = {
        "MATCHKA_PROCESSES": "2",
        "MATCHKA_HEALTH_PORT": str(health_port),
        "MATCHKA_API_KEY": KEY,
        **variables,
    }
    server = start(folder / "models", folder / "data", port, variables=given)
    try:
        yield Pair(server, port, health_port, given)
    finally:
        stop(server.process)


def wait_until(is_so: Callable[[], bool]) -> None:
    started = time.monotonic()
    while not is_so():
        assert time.monotonic() - started < BOUND_S
        time.sleep(0.05)


@pytest.fixture(scope="module", params=["sqlite", "vault", "postgresql"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    with contextlib.ExitStack() as stack:
        variables = {}
        if request.param == "vault":
            variables["MATCHKA_MASTER_KEY_FILE"] = str(folder / "master.key")
            variables["MATCHKA_CREATE_MASTER_KEY"] = "true"
        if request.param == "postgresql":
            variables["MATCHKA_DATABASE_URL"] = stack.enter_context(fresh_database(request.getfixturevalue("cluster")))
        yield stack.enter_context(running_pair(folder, **variables))


def test_both_processes_answer_and_any_of_them_counts_for_both(pair: Pair):
    before = pair.metrics()
    with contextlib.ExitStack() as stack:
        for _ in range(CALLERS):
            connection = http.client.HTTPConnection("127.0.0.1", pair.port, timeout=BOUND_S)
            stack.callback(connection.close)
            connection.request("GET", "/healthz")
            assert connection.getresponse().read()
        for _ in range(3):  # on connections of their own, which one process or the other answers
            after = pair.metrics()
            name = 'matchka_requests_total{path="/healthz",status="200"}'
            assert after[name] - before.get(name, 0.0) == CALLERS
    for number in (1, 2):
        name = f'matchka_process_requests_total{{process="{number}"}}'
        assert after[name] > before[name]
    assert after["matchka_processes"] == 2


def test_health_listener_tells_of_both_processes(pair: Pair):
    for _ in range(4):
        assert status_of(pair.health_port, "/readyz") == 200
    assert pair.metrics(pair.health_port)["matchka_processes"] == 2


def test_subject_enrolled_or_deleted_by_one_process_is_so_for_both(pair: Pair):
    for person in range(3):
        pair.server.client(KEY).enroll(f"person {person}".replace(" ", "-"), [sample(person, 1)])
        for _ in range(4):
            found = pair.server.client(KEY).verify(f"person-{person}", sample(person, 1))
            assert found.match
    pair.server.client(KEY).delete_subject("person-1")
    for _ in range(4):
        assert pair.get("/v1/subjects/person-1")[0] == 404


def test_subject_enrolled_or_deleted_by_one_process_is_so_in_the_galleries_of_both(pair: Pair):
    def call(method: str, path: str, position: str = "", **given: object) -> requests.Response:
        headers = {"Authorization": f"Bearer {KEY}"} | ({POSITION_HEADER: position} if position else {})
        answer = requests.request(method, f"{pair.server.url}{path}", headers=headers, timeout=BOUND_S, **given)
        assert answer.ok, answer.text
        return answer

    def candidates(person: int, position: str) -> list[str]:
        files, fields = {"file": ("a", sample(person, 1))}, {"model": "voice", "top_k": "100"}
        found = call("POST", "/v1/identify", position, data=fields, files=files).json()
        return [one["subject_id"] for one in found["candidates"]]

    for person in range(100, 106):
        fields = {"model": "voice", "subject_id": f"s{person}"}
        enrolled = call("POST", "/v1/enroll", data=fields, files={"file": ("a", sample(person, 1))})
        for _ in range(4):
            assert candidates(person, enrolled.headers[POSITION_HEADER])[0] == f"s{person}"
        if person % 2:
            deleted = call("DELETE", f"/v1/subjects/s{person}")
            for _ in range(4):
                assert f"s{person}" not in candidates(person, deleted.headers[POSITION_HEADER])
    wait_until(lambda: pair.metrics()["matchka_feed_pending_changes"] == 0)


def test_process_that_replaces_a_killed_one_has_the_galleries_of_the_others_with_all_changes(tmp_path: Path):
    def candidates(pair: Pair, person: int) -> list[str]:
        headers = {"Authorization": f"Bearer {KEY}"}
        files, fields = {"file": ("a", sample(person, 1))}, {"model": "voice", "top_k": "100"}
        url = f"{pair.server.url}/v1/identify"
        answer = requests.post(url, headers=headers, data=fields, files=files, timeout=BOUND_S)
        assert answer.ok, answer.text
        return [one["subject_id"] for one in answer.json()["candidates"]]

    with running_pair(tmp_path) as pair:
        for person in range(6):
            pair.server.client(KEY).enroll(f"s{person}", [sample(person, 1)])
    with running_pair(tmp_path) as pair:
        pair.server.client(KEY).delete_subject("s1")
        pair.server.client(KEY).delete_subject("s2")
        pair.server.client(KEY).enroll("s2", [sample(12, 1)])
        pair.server.client(KEY).enroll("s6", [sample(6, 1)])
        os.kill(pair.children()[0], signal.SIGKILL)
        wait_until(lambda: pair.reached_metrics().get("matchka_process_replacements_total") == 1)
        wait_until(lambda: pair.reached_metrics().get("matchka_processes") == 2)
        for _ in range(4):  # on connections of their own, which one process or the other answers
            for person, subject in ((0, "s0"), (3, "s3"), (6, "s6"), (12, "s2")):
                found = candidates(pair, person)
                assert found[0] == subject
                assert set(found) <= {"s0", "s2", "s3", "s4", "s5", "s6"}
        assert pair.server.log.read_text().count("references of another process were taken") >= 2


def test_rate_of_a_key_holds_over_both_processes(pair: Pair):
    """A hundredth of a request a second, and one at once: of many that come together one is let in."""
    made = pair.server.client(KEY).create_key("slow", scopes="subjects.read", requests_per_s=0.01)
    started, statuses = time.monotonic(), [401]
    while 401 in statuses[-3 * CALLERS :]:  # one process has not heard of the key yet
        with ThreadPoolExecutor(CALLERS) as threads:
            statuses += threads.map(lambda _: pair.get("/v1/subjects", made.key)[0], range(3 * CALLERS))
    assert set(statuses) <= {200, 429, 401}
    assert 1 <= statuses.count(200) <= 1 + 0.01 * (time.monotonic() - started)


def test_callers_without_a_key_are_slowed_by_both_processes_together(pair: Pair):
    """Ten refusals go out at once, and five a second from then on, whichever process answers."""
    count, started = 30, time.monotonic()
    for _ in range(count):
        assert pair.get("/v1/models", "no key of anybody")[0] == 401
    assert time.monotonic() - started > (count - 10) * 0.2 - 1


@dataclass
class Load:
    """Callers that ask again and again, each on a connection that it keeps while it can."""

    port: int
    answered: list[int] = field(default_factory=list)  # statuses
    broken: int = 0
    ends: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self) -> Iterator["Load"]:
        threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self.ends.set()
            for thread in threads:
                thread.join()

    def _call(self) -> None:
        while not self.ends.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=BOUND_S)
            try:
                while not self.ends.is_set():
                    connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {KEY}"})
                    answer = connection.getresponse()
                    answer.read()
                    self.answered.append(answer.status)
            except (OSError, http.client.HTTPException):
                self.broken += 1
            finally:
                connection.close()


def test_process_killed_under_load_fails_only_its_own_requests_and_is_replaced(tmp_path: Path):
    with running_pair(tmp_path) as pair, Load(pair.port).running() as load:
        wait_until(lambda: len(load.answered) > 100)
        killed = pair.children()[0]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: pair.reached_metrics().get("matchka_process_replacements_total") == 1)
        before = len(load.answered)
        wait_until(lambda: len(load.answered) > before + 100)  # the other one alone
        wait_until(lambda: pair.metrics()["matchka_processes"] == 2)
        assert killed not in pair.children()
        assert status_of(pair.port, "/readyz") == 200
    assert set(load.answered) == {200}
    assert load.broken <= CALLERS


def test_sigterm_ends_all_processes_with_success_and_frees_the_port(tmp_path: Path):
    with running_pair(tmp_path) as pair:
        for person in range(4):
            pair.server.client(KEY).enroll(f"p{person}", [sample(person)])
        children = pair.children()
        assert len(children) == 2
        assert stop(pair.server.process) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in children)
        wait_until(lambda: _group(pair.server.process.pid) == [])  # Python's tracker of resources ends behind them
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", pair.port))
    environment = {"MATCHKA_DATA_DIR": str(pair.server.data_dir), "COLUMNS": "200"}
    done = CliRunner(env=environment).invoke(app, ["audit", "verify"])
    assert done.exit_code == 0, done.output
    assert "BROKEN" not in pair.server.log.read_text()


def test_processes_whose_parent_is_killed_end_and_the_next_start_works_at_once(tmp_path: Path):
    with running_pair(tmp_path) as pair:
        pair.server.client(KEY).enroll("ada", [sample(1)])
        group = pair.server.process.pid
        pair.server.process.kill()
        pair.server.process.wait()
        again = start(tmp_path / "models", tmp_path / "data", pair.port, variables=pair.variables)
        try:
            assert again.client(KEY).verify("ada", sample(1)).match
            wait_until(lambda: _group(group) == [])
        finally:
            assert stop(again.process) == 0


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"MATCHKA_MODELS": "nobody"}, "no bundle of a model that is to be served"),
        ({"MATCHKA_DATABASE_URL": "sqlite:////nowhere/at/all.sqlite"}, "The database cannot be opened"),
        ({"MATCHKA_PROCESSES": "0"}, "MATCHKA_PROCESSES"),
        ({"MATCHKA_DEVICE": "gpu"}, "GPU"),
    ],
)
def test_service_of_processes_that_cannot_start_says_why_once_and_exits_2(
    tmp_path: Path, variables: dict[str, str], said: str
):
    write_bundle(tmp_path / "models" / "voice")
    given = {"MATCHKA_PROCESSES": "3", **variables}
    server = start(tmp_path / "models", tmp_path / "data", wait=False, variables=given)
    assert server.process.wait(BOUND_S) == FAILED
    assert len(re.findall(re.escape(said), server.log.read_text())) == 1


def test_processes_secure_their_connections_with_one_certificate(tmp_path: Path):
    certificate, key = made().write(tmp_path)
    variables = {"MATCHKA_TLS_CERTIFICATE": str(certificate), "MATCHKA_TLS_KEY": str(key), "MATCHKA_PROCESSES": "2"}
    write_bundle(tmp_path / "models" / "voice")
    server = start(tmp_path / "models", tmp_path / "data", wait=False, variables=variables)
    url = server.url.replace("http:", "https:")

    def is_ready() -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"{url}/readyz", timeout=BOUND_S, verify=str(certificate)).ok
        return False

    try:
        wait_until(is_ready)
        for _ in range(4):
            lines = requests.get(f"{url}/metrics", timeout=BOUND_S, verify=str(certificate)).text.splitlines()
        assert all(not line.endswith(" 0.0") for line in lines if line.startswith("matchka_process_requests_total"))
    finally:
        assert stop(server.process) == 0


def test_service_whose_processes_cannot_load_ends_with_2(tmp_path: Path):
    """A reference that is not what was stored is found when the galleries are filled, behind the start."""
    with running_pair(tmp_path) as pair:
        pair.server.client(KEY).enroll("ada", [sample(1)])
    file = tmp_path / "data" / "matchka.sqlite"
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE subject_references SET embedding = zeroblob(length(embedding))")
    server = start(tmp_path / "models", tmp_path / "data", wait=False, variables=pair.variables)
    assert server.process.wait(BOUND_S) == FAILED
    assert "cannot load and stops" in server.log.read_text()


def test_more_processes_than_cores_are_warned_about_and_serve(tmp_path: Path):
    many = len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else 9
    with running_pair(tmp_path, MATCHKA_PROCESSES=str(many)) as pair:
        assert pair.metrics()["matchka_processes"] == many
        assert f"{many} processes share" in pair.server.log.read_text()
