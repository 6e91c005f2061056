"""A served process whose database is killed, stopped or cut off: it says so, loses nothing, and needs no restart."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from matchka.store.store import Store
from tests.factories.bundles import write_bundle
from tests.factories.postgres import Cluster, started_cluster, what_is_missing
from tests.factories.samples import sample
from tests.factories.server_process import RunningServer, start, stop
from tests.factories.stalling_proxy import StallingProxy, stalling_proxy

pytestmark = pytest.mark.slow

BOUND_S = 60.0
HURRIED = {"STATEMENT_TIMEOUT_S": "1", "CONNECT_TIMEOUT_S": "2", "POOL_TIMEOUT_S": "1"}
WRITERS = 6


@dataclass
class Served:
    """A cluster of its own, a proxy before it, and a server that reaches it through the proxy."""

    cluster: Cluster
    proxy: StallingProxy
    server: RunningServer

    def ready(self) -> requests.Response:
        return requests.get(f"{self.server.url}/readyz", timeout=BOUND_S)

    def enrol(self, subject: str, take: int) -> requests.Response:
        return requests.post(
            f"{self.server.url}/v1/enroll",
            data={"model": "voice", "subject_id": subject},
            files={"file": sample(1 + take % 7, take)},
            timeout=BOUND_S,
        )

    def wait_until(self, is_so: Callable[[requests.Response], bool]) -> requests.Response:
        end = time.monotonic() + BOUND_S
        while not is_so(answer := self.ready()):
            assert time.monotonic() < end, answer.text
            time.sleep(0.02)
        return answer


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    missing = what_is_missing()
    if missing is not None:
        pytest.skip(missing)
    write_bundle(tmp_path / "models" / "voice")
    with started_cluster() as own, stalling_proxy(own.folder / ".s.PGSQL.5432") as proxy:
        settings = {f"MATCHKA_DATABASE__{name}": value for name, value in HURRIED.items()}
        url = f"postgresql://matchka@127.0.0.1:{proxy.port}/postgres"
        server = start(tmp_path / "models", tmp_path / "data", variables={"MATCHKA_DATABASE_URL": url, **settings})
        try:
            yield Served(own, proxy, server)
        finally:
            assert stop(server.process) == 0


def stall_proxy(served: Served) -> None:
    served.proxy.forwards.clear()


def unstall_proxy(served: Served) -> None:
    served.proxy.forwards.set()


def stop_processes(served: Served) -> None:
    served.cluster.signal(signal.SIGSTOP)


def continue_processes(served: Served) -> None:
    served.cluster.signal(signal.SIGCONT)


@pytest.mark.parametrize(
    ("hang", "heal"),
    [(stall_proxy, unstall_proxy), (stop_processes, continue_processes)],
    ids=["nothing forwarded", "server stopped"],
)
def test_database_that_hangs_is_a_503_of_the_service_until_it_goes_on(
    served: Served, hang: Callable[[Served], None], heal: Callable[[Served], None]
):
    assert served.enrol("ada", 0).status_code == 201
    hang(served)
    try:
        answer = served.ready()
        refused = served.enrol("ben", 1)
        alive = requests.get(f"{served.server.url}/healthz", timeout=BOUND_S)
    finally:
        heal(served)
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_failed")
    assert answer.headers["Retry-After"]
    assert (refused.status_code, refused.json()["code"]) == (503, "storage_failed")
    assert refused.headers["Retry-After"]
    assert alive.status_code == 200
    served.wait_until(lambda answer: answer.status_code == 200)
    assert served.enrol("ben", 2).status_code == 201
    assert served.enrol("ada", 3).json()["template_count"] == 2


@dataclass
class Writers:
    """Enrol subjects of names of their own, each as soon as the one before is answered."""

    served: Served
    acknowledged: list[str] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def write(self, writer: int) -> None:
        number = 0
        while not self.ended.is_set():
            number += 1
            answer = self.served.enrol(f"w{writer}-{number}", number)
            if answer.status_code == 201:
                self.acknowledged.append(answer.json()["template_ids"][0])
            else:
                self.refused.append((answer.status_code, answer.json()["code"]))


def test_database_that_is_killed_under_enrolments_loses_none_that_was_acknowledged(served: Served):
    writers = Writers(served)
    threads = [threading.Thread(target=writers.write, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            before = len(writers.acknowledged)
            wait_for(lambda before=before: len(writers.acknowledged) > before + 20)
            served.cluster.kill()
            served.wait_until(lambda answer: answer.status_code == 503)
            served.cluster.start()
            served.wait_until(lambda answer: answer.status_code == 200)
    finally:
        writers.ended.set()
        for thread in threads:
            thread.join(2 * BOUND_S)
    assert {status for status, _ in writers.refused} <= {503}, writers.refused
    with closing(Store(served.cluster.url())) as store:
        stored = {
            template.template_id
            for summary in store.subjects("default", 100_000, None)
            for template in store.subject("default", summary.subject_id).templates
        }
    assert len(writers.acknowledged) > 60
    assert set(writers.acknowledged) <= stored


def wait_for(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + BOUND_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)
