"""A rolling upgrade: one replica serves a new version of a model beside the old, the other the old alone."""

import shutil
import signal
import threading
from collections.abc import Iterable
from pathlib import Path

from loadtests.client.caller import Caller, ConnectionLostError
from loadtests.torture.replicas import people
from loadtests.torture.replicas.group import Group, Replica, opened_group
from loadtests.torture.replicas.people import MODEL, subject_of
from loadtests.torture.replicas.proxy import caller_through, opened_proxy
from loadtests.torture.replicas.scene import wait_until_used
from loadtests.torture.replicas.traffic import POSITION
from loadtests.torture.replicas.trial import Plan, Result
from tests.factories.bundles import VERSION
from tests.factories.direct_embedder import write_direct_bundle

NEXT_VERSION = "2.0.0"
PEOPLE = 30
READERS = 4


class Reader(threading.Thread):
    """Verifies and identifies people who have to be known all the time. Attributes: asked, wrong."""

    def __init__(self, caller: Caller, seed: int) -> None:
        super().__init__(daemon=True)
        self.finish = threading.Event()
        self.asked = 0
        self.wrong: list[str] = []
        self._caller, self._seed = caller, seed

    def run(self) -> None:
        """Ask until it is told to finish."""
        while not self.finish.is_set():
            number = self.asked % PEOPLE
            try:
                self.wrong += _wrong_with(self._caller, self._seed, [number])
            except ConnectionLostError as error:
                self.wrong.append(str(error))
            self.asked += 1
        self._caller.close()


def upgrade_one_by_one(plan: Plan) -> Result:
    """Whoever was enrolled in the old version is known by every replica, until everybody has templates of both."""
    folder = plan.out / "upgrade"
    with opened_group(folder, plan.cluster, 2) as group, opened_proxy(folder, [group]) as proxy:
        first, second = group.replicas
        old, new = range(PEOPLE), range(PEOPLE, 2 * PEOPLE)
        position = _enrol(first.caller(), plan.seed, old)
        broken = _wrong_with(second.caller(), plan.seed, old, position)
        readers = [Reader(caller_through(proxy), plan.seed) for _ in range(READERS)]
        for reader in readers:
            reader.start()
        models = _both_versions(folder)
        _replace(second, models)
        broken += [f"with one replica of two: {problem}" for problem in _mixed(plan, group, new)]
        _replace(first, models)
        for replica in group.replicas:
            everybody = [*old, *new]
            broken += [f"with both versions: {one}" for one in _wrong_with(replica.caller(), plan.seed, everybody)]
        position = _enrol(second.caller(), plan.seed, old)  # again, in the new version
        _replace(first, folder / "new")
        _replace(second, folder / "new")
        for replica in group.replicas:
            found = _wrong_with(replica.caller(), plan.seed, [*old, *new], position)
            broken += [f"with the new version: {one}" for one in found]
        for reader in readers:
            reader.finish.set()
        for reader in readers:
            reader.join()
        asked = sum(reader.asked for reader in readers)
        unanswered = [problem for reader in readers for problem in reader.wrong]
        broken += [f"through the proxy: {problem}" for problem in unanswered] + group.disagreements()
    note = f"{VERSION} -> {NEXT_VERSION}; {2 * PEOPLE} people, four replacements under load"
    return Result(asked, asked - len(unanswered), tuple(broken), note)


def _mixed(plan: Plan, group: Group, numbers: Iterable[int]) -> list[str]:
    """One replica has the old version alone, the other both: whom the second enrols the first refuses by name."""
    first, second = (replica.caller() for replica in group.replicas)
    position = _enrol(second, plan.seed, numbers)
    wrong = _wrong_with(second, plan.seed, numbers)
    for number in numbers:
        sample = people.sample(plan.seed, number)
        answer = people.verify(first, number, sample)
        if (answer.status, answer.body.get("code")) != (409, "other_version"):
            wrong.append(f"verify of {subject_of(number)} on the old replica answered {answer.status}: {answer.body}")
        answer = people.identify(first, sample, position)
        if answer.status != 200 or subject_of(number) in people.candidates_of(answer):
            wrong.append(f"identify of {subject_of(number)} on the old replica answered {answer.status}: {answer.body}")
    return wrong


def _enrol(caller: Caller, seed: int, numbers: Iterable[int]) -> dict[str, str]:
    """Enrol everybody; the position of the last one.

    Raises: RuntimeError: an enrolment failed.
    """
    headers: dict[str, str] = {}
    for number in numbers:
        answer = people.enrol(caller, number, people.sample(seed, number))
        if answer.status != 201:
            raise RuntimeError(f"enrol answered {answer.status}: {answer.body}")
        headers = {POSITION: answer.headers[POSITION.lower()]}
    caller.close()
    return headers


def _wrong_with(caller: Caller, seed: int, numbers: Iterable[int], position: dict[str, str] | None = None) -> list[str]:
    """Whom a caller does not find as they are."""
    wrong = []
    for number in numbers:
        sample = people.sample(seed, number)
        verified, identified = people.verify(caller, number, sample), people.identify(caller, sample, position or {})
        if verified.status != 200 or not verified.body["match"]:
            wrong.append(f"verify of {subject_of(number)} answered {verified.status}: {verified.body}")
        if identified.status != 200 or identified.body["match"] != subject_of(number):
            wrong.append(f"identify of {subject_of(number)} answered {identified.status}: {identified.body}")
    return wrong


def _both_versions(folder: Path) -> Path:
    """A folder of both versions, the new one current; beside it one of the new alone."""
    both, new = folder / "both", folder / "new"
    write_direct_bundle(new / MODEL, MODEL, NEXT_VERSION)
    shutil.copytree(new / MODEL, both / MODEL)
    shutil.copytree(folder / "models" / MODEL, both / f"{MODEL}-{VERSION}")
    return both


def _replace(replica: Replica, models_dir: Path) -> None:
    """Stop it as a rollout does, and start it with other bundles."""
    replica.signal(signal.SIGTERM)
    replica.wait_until_ended()
    replica.models_dir = models_dir
    replica.start()
    replica.wait_until_ready()
    wait_until_used()
