"""One of two replicas is cut off from the database: it says so, the other goes on, and it is right again by itself."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from loadtests.server import ServerProcess, free_port, start_process
from tests.factories.bundles import write_bundle
from tests.factories.network_namespace import Cable, network_namespace
from tests.factories.network_namespace import what_is_missing as what_a_namespace_lacks
from tests.factories.postgres import QUICK, started_cluster, what_is_missing
from tests.factories.samples import sample

pytestmark = pytest.mark.slow

BOUND_S = 60.0
CUT_S = 8.0
KEY = "k" * 40
SETTINGS = {"STATEMENT_TIMEOUT_S": "1", "CONNECT_TIMEOUT_S": "2", "POOL_TIMEOUT_S": "1"}


@dataclass
class Replica:
    process: ServerProcess
    host: str

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, **given: object) -> requests.Response:
        url = f"http://{self.host}:{self.process.port}/{path}"
        allowed = {"Authorization": f"Bearer {KEY}", **(headers or {})}
        return requests.request(method, url, headers=allowed, timeout=BOUND_S, **given)  # type: ignore[arg-type]

    def call(
        self, what: str, person: int, take: int, headers: dict[str, str] | None = None, **fields: str
    ) -> requests.Response:
        files = {"file": sample(person, take)}
        return self.ask("POST", f"v1/{what}", headers, data={"model": "voice", **fields}, files=files)

    def wait_until_ready(self) -> None:
        wait_until(lambda: self.readiness() == 200)

    def readiness(self) -> int:
        try:
            return self.ask("GET", "readyz").status_code
        except requests.ConnectionError:
            return 0


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + BOUND_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


@dataclass
class Served:
    """Attributes: cut_off: the replica behind `cable`. other: one beside the database."""

    cut_off: Replica
    other: Replica
    cable: Cable


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    missing = what_is_missing() or what_a_namespace_lacks()
    if missing is not None:
        pytest.skip(missing)
    write_bundle(tmp_path / "models" / "voice")
    with (
        network_namespace() as namespace,
        started_cluster(QUICK, namespace.database.here, namespace.database.network) as cluster,
    ):

        def started(name: str, host: str, url: str, before: tuple[str, ...]) -> Replica:
            variables = {
                **{f"MATCHKA_DATABASE__{setting}": value for setting, value in SETTINGS.items()},
                "MATCHKA_DATABASE_URL": url,
                "MATCHKA_HOST": host,
                "MATCHKA_API_KEY": KEY,
                "MATCHKA_DATA_DIR": str(tmp_path / name),
                "MATCHKA_MODELS_DIR": str(tmp_path / "models"),
            }
            command = (*before, sys.executable, "-m", "matchka", "serve", "--port")
            process = start_process(command, free_port(), tmp_path / f"{name}.log", variables, cwd=tmp_path)
            return Replica(process, host)

        both: list[Replica] = []
        try:
            both.append(started("other", "127.0.0.1", cluster.url(), ()))
            both[0].wait_until_ready()
            there = namespace.callers.there
            both.append(started("cut_off", there, cluster.url_over_tcp(), namespace.command))
            both[1].wait_until_ready()
            yield Served(both[1], both[0], namespace.database)
        finally:
            namespace.database.plug_in()
            for replica in both:
                replica.process.end()


def test_replica_that_is_cut_off_from_the_database_refuses_alone_and_is_right_when_that_is_back(served: Served):
    assert served.cut_off.call("enroll", 1, 0, subject_id="ada").status_code == 201
    assert served.other.call("verify", 1, 1, subject_id="ada").json()["match"]
    served.cable.pull()
    began = time.monotonic()
    wait_until(lambda: served.cut_off.readiness() == 503)
    refused, taken = [], []
    while time.monotonic() - began < CUT_S or not refused or not taken:
        number = len(taken)
        refused.append(served.cut_off.call("enroll", 2, number, subject_id=f"never{number}"))
        refused.append(served.cut_off.call("verify", 1, 1, subject_id="ada"))
        taken.append(served.other.call("enroll", 3 + number, 0, subject_id=f"during{number}"))
        assert served.cut_off.readiness() == 503
        assert served.other.readiness() == 200
    assert served.cut_off.ask("GET", "healthz").status_code == 200
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(503, "storage_failed")}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert {answer.status_code for answer in taken} == {201}
    served.cable.plug_in()
    served.cut_off.wait_until_ready()
    position = {"Matchka-Position": taken[-1].headers["Matchka-Position"]}
    for number in range(len(taken)):
        found = served.cut_off.call("identify", 3 + number, 1, position).json()
        assert found["candidates"][0]["subject_id"] == f"during{number}"
    # an enrolment that was refused may be stored where the cable was pulled before its answer; none was here
    assert found["gallery_size"] == 1 + len(taken)
    assert served.cut_off.call("enroll", 1, 2, subject_id="ada").json()["template_count"] == 2
    assert served.cut_off.process.process.poll() is None
