"""Template recovery: what the best attack that we know makes of the answers, with scores, with decisions, with bounds.

The attacker knows the model, chooses the embedding of every probe, and has no sample of the victim.
"""

import http.client
import json
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from matchka.store.keys.keys import Keys
from matchka.store.keys.records import NO_CEILINGS, Ceilings, KeySpec
from matchka.store.keys.scopes import DEFAULT_SCOPES, Scope
from matchka.store.store import opened_store
from tests.factories.direct_embedder import DIM, sample_of, write_direct_bundle
from tests.factories.small_server import SmallServer, serving, small_settings

MODEL, VICTIM = "direct", "victim"
CALLS = 10_000
BOUNDARY = b"--------matchka"


class Attacker:
    """Sends probes over one connection, and counts what it is answered."""

    def __init__(self, server: SmallServer, key: str, seed: int) -> None:
        self._connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
        self.key = key
        self._generator = np.random.default_rng(seed)
        self.statuses: Counter[int] = Counter()

    def close(self) -> None:
        self._connection.close()

    def directions(self, count: int) -> np.ndarray:
        """Directions at random, (count, DIM)."""
        rows = self._generator.normal(size=(count, DIM))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def ask(self, call: str, direction: np.ndarray, **fields: object) -> dict[str, Any]:
        """The answer to a probe; empty where it is refused."""
        body = {"model": MODEL, "file": json.loads(sample_of(direction)), **fields}
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        self._connection.request("POST", f"/v1/{call}", json.dumps(body), headers)
        response = self._connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
        self.statuses[response.status] += 1
        return answer if response.status < 300 else {}


@dataclass
class Scene:
    server: SmallServer
    keys: Keys
    template: np.ndarray
    until_its_end: ExitStack = field(default_factory=ExitStack)

    def attacker(self, scopes: frozenset[Scope], ceilings: Ceilings | None = None, seed: int = 1) -> Attacker:
        spec = KeySpec("attacker", scopes=scopes) if ceilings is None else KeySpec("a", "default", scopes, ceilings)
        attacker = Attacker(self.server, self.keys.create(spec).secret, seed)
        self.until_its_end.enter_context(closing(attacker))
        while requests.get(f"{self.server.url}/v1/models", timeout=30).status_code != 401:
            pass  # until a key is in force every caller has all scopes
        while not attacker.ask("enroll", attacker.directions(1)[0], subject_id=f"own-{seed}"):
            pass
        attacker.statuses.clear()
        return attacker

    def cosine(self, guess: np.ndarray) -> float:
        length = float(np.linalg.norm(guess))
        return float(guess @ self.template / length) if length else 0.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_direct_bundle(tmp_path / "models" / MODEL, MODEL)
    return tmp_path


def scene(folder: Path, **changes: object) -> Generator[Scene, None, None]:
    settings = small_settings(folder, **changes)
    template = np.random.default_rng(99).normal(size=DIM)
    template /= np.linalg.norm(template)
    with serving(settings) as server, opened_store(settings.effective_database_url) as store:
        server.client().enroll(VICTIM, [sample_of(template)], MODEL)  # no key is in force yet
        with (found := Scene(server, store.keys, template)).until_its_end:
            yield found


@pytest.fixture
def bounded(folder: Path) -> Generator[Scene, None, None]:
    """A service as it is by default."""
    yield from scene(folder)


@pytest.fixture
def unbounded(folder: Path) -> Generator[Scene, None, None]:
    """A service where tries are as good as not bounded."""
    yield from scene(folder, failed_tries_per_hour=1_000_000)


def test_similarities_of_as_many_probes_as_there_are_components_give_the_template(unbounded: Scene):
    attacker = unbounded.attacker(frozenset({Scope.ENROLL, Scope.VERIFY, Scope.SCORES}))
    probes = attacker.directions(DIM)
    told = [attacker.ask("verify", probe, subject_id=VICTIM)["similarity"] for probe in probes]
    assert unbounded.cosine(np.linalg.solve(probes, told)) > 0.999  # whoever has `scores` has the templates


def test_decisions_at_thresholds_of_the_callers_choice_give_the_template_where_nothing_bounds_them(unbounded: Scene):
    attacker = unbounded.attacker(frozenset({Scope.ENROLL, Scope.VERIFY}), NO_CEILINGS)
    probes = attacker.directions(600)
    signs = [1 if attacker.ask("verify", probe, subject_id=VICTIM, max_fmr=0.5)["match"] else -1 for probe in probes]
    assert unbounded.cosine(np.array(signs) @ probes) > 0.8


@pytest.mark.slow  # 10,000 calls
def test_ten_thousand_calls_with_more_than_the_default_rights_say_little_of_the_template(bounded: Scene):
    attacker = bounded.attacker(DEFAULT_SCOPES | {Scope.EMBED, Scope.APPEND})
    asked = []  # (probe, whether it was said to be the victim) of all calls that were answered
    guess = np.zeros(DIM)
    for number, direction in enumerate(attacker.directions(CALLS)):
        # until something matches: anywhere; then about the guess, so that half of the probes match
        probe = direction if not guess.any() else guess / np.linalg.norm(guess) + direction
        probe = probe / np.linalg.norm(probe)
        told = tell(attacker, probe, number)
        if told is not None:
            asked.append((probe, told))
            if told or guess.any():
                guess = best_guess(asked)
    assert attacker.statuses[429] + attacker.statuses[403] > CALLS / 2
    assert attacker.statuses[500] == 0
    assert len(asked) > 100
    assert abs(bounded.cosine(best_guess(asked))) < 0.3


def test_near_misses_of_searches_count_as_tries_of_the_subject_that_they_nearly_find(bounded: Scene):
    attacker = bounded.attacker(DEFAULT_SCOPES)
    for number, direction in enumerate(attacker.directions(30)):  # a gallery in which many searches may fail
        attacker.ask("enroll", direction, subject_id=f"other-{number}")
    attacker.statuses.clear()
    across = attacker.directions(1)[0]
    across -= across @ bounded.template * bounded.template
    probe = 0.27 * bounded.template + (1 - 0.27**2) ** 0.5 * across / np.linalg.norm(across)
    for number in range(34):  # own enrolments may be near misses; each two minutes give one back
        if number == 25:
            assert attacker.ask("identify", bounded.template)["match"] == VICTIM
        attacker.ask("identify", probe)
    assert attacker.ask("verify", bounded.template, subject_id=VICTIM) == {}
    attacker.statuses.clear()
    found = [attacker.ask("identify", one) for one in (probe, bounded.template, attacker.directions(1)[0])]
    assert [(one["match"], one["candidates"]) for one in found] == [(None, [])] * 3  # near, she herself, and far: alike
    assert attacker.statuses == {200: 3}
    answer = attacker.ask("enroll", bounded.template, subject_id="another")
    assert VICTIM not in {one["subject_id"] for one in answer["similar_subjects"]}


def test_attempts_at_once_at_the_end_of_a_wait_are_let_in_one_at_a_time(folder: Path):
    found = next(places := scene(folder, failed_tries_per_hour=2))
    attackers = [found.attacker(DEFAULT_SCOPES, seed=1)]
    attackers += [Attacker(found.server, attackers[0].key, seed) for seed in range(2, 21)]
    for one in attackers:
        found.until_its_end.enter_context(closing(one))

    def wrong(attacker: Attacker) -> bool:
        return attacker.ask("verify", attacker.directions(1)[0], subject_id=VICTIM) != {}

    with ThreadPoolExecutor(20) as pool:
        while all(pool.map(wrong, attackers[:1])):
            pass
        for _ in range(2):
            with found.keys._engine.begin() as connection:  # as if the wait had passed
                connection.exec_driver_sql("UPDATE attempts SET blocked_until = datetime(blocked_until, '-1 hour')")
            assert sum(pool.map(wrong, attackers)) == 1
    places.close()


def test_subject_beside_one_that_always_matches_is_not_told_and_charged_all_the_same(bounded: Scene):
    attacker = bounded.attacker(DEFAULT_SCOPES)
    decoy = attacker.directions(1)[0]
    attacker.ask("enroll", decoy, subject_id="decoy")
    probe = decoy + 0.8 * bounded.template
    told = [attacker.ask("identify", probe, top_k=number % 2 * 99 + 1) for number in range(40)]
    assert {answer["match"] for answer in told} == {"decoy"}
    assert {one["subject_id"] for answer in told for one in answer["candidates"]} == {"decoy"}
    assert attacker.ask("verify", bounded.template, subject_id=VICTIM) == {}


@pytest.mark.slow  # 10,000 calls
def test_ten_thousand_searches_that_all_find_a_decoy_say_little_of_the_template(bounded: Scene):
    attacker = bounded.attacker(DEFAULT_SCOPES)
    decoy = attacker.directions(1)[0]
    attacker.ask("enroll", decoy, subject_id="decoy")
    asked, guess = [], np.zeros(DIM)
    step = 1.0  # about the guess, so that half of the probes are said to be near
    for direction in attacker.directions(CALLS):
        aside = guess + step * direction if guess.any() else direction
        aside = aside - aside @ decoy * decoy
        probe = 0.35 * decoy + 0.937 * aside / np.linalg.norm(aside)
        answer = attacker.ask("identify", probe, top_k=100)
        if not answer:
            continue
        told = VICTIM in {answer["match"], *(one["subject_id"] for one in answer["candidates"])}
        asked.append((probe, told))
        if guess.any():
            step *= 1.02 if told else 1 / 1.02
        if told or (len(asked) % 100 == 0 and guess.any()):
            guess = best_guess(asked)
            guess /= np.linalg.norm(guess)
    assert attacker.statuses[500] == 0
    assert abs(bounded.cosine(best_guess(asked))) < 0.3


def tell(attacker: Attacker, probe: np.ndarray, number: int) -> bool | None:
    """Whether a probe is said to be the victim, by whichever call is still answered; None where none is."""
    if number % 50 == 0:  # each makes the gallery larger, and with it the searches that may fail
        answer = attacker.ask("enroll", probe, subject_id=f"new-{number}")
        similar = answer.get("similar_subjects")
        return None if similar is None else VICTIM in {one["subject_id"] for one in similar}
    if number % 10 < 4:
        answer = attacker.ask("identify", probe, top_k=100)
        return VICTIM in {one["subject_id"] for one in answer["candidates"]} if answer else None
    answer = attacker.ask("verify", probe, subject_id=VICTIM, **({"max_fmr": 0.5} if number % 10 == 9 else {}))
    return answer.get("match")


def best_guess(asked: list[tuple[np.ndarray, bool]]) -> np.ndarray:
    """The direction that fits the answers best, by least squares with a little ridge."""
    probes, told = np.array([probe for probe, _ in asked]), np.array([told for _, told in asked], float)
    guess: np.ndarray = np.linalg.solve(probes.T @ probes + np.eye(DIM), probes.T @ (told - 0.5))
    return guess
