"""Template recovery: probes whose embeddings the attacker chose, and what the answers say of somebody's template."""

from collections import Counter

import numpy as np

from loadtests.client.caller import Answer, Caller
from loadtests.torture.attack.attack import Plan, Result
from loadtests.torture.attack.scene import DEFAULT_SCOPES, MODEL, VICTIM, Scene, Vector, enrol, opened_scene, unit
from tests.factories.direct_embedder import DIM, sample_of

RECOVERED = 0.3  # cosine to the template that counts as recovered
UNMATCHED_PROBES = 25  # fewer than may fail in an hour
DECOY_SHARE = 0.35  # of a probe that the attacker's own subject always matches


class Estimate:
    """The direction that fits the answers best, by least squares with a little ridge."""

    def __init__(self) -> None:
        self._gram = np.eye(DIM)
        self._right = np.zeros(DIM)

    def note(self, probe: Vector, is_victim: bool) -> None:
        """Add an answer."""
        self._gram += np.outer(probe, probe)
        self._right += (is_victim - 0.5) * probe

    @property
    def direction(self) -> Vector:
        """Not of unit length; zeros before the first answer."""
        found: Vector = np.linalg.solve(self._gram, self._right)
        return found


def recover_by_scores(plan: Plan) -> Result:
    """As many similarities as there are components are a system of linear equations.

    The first few say enough for a probe that matches; what matches is no failed try, so that nothing bounds the rest.
    """
    with opened_scene(plan.out / "recovery-scores", plan.seed) as scene:
        caller = scene.caller(scene.key(scopes="verify,scores"))
        probes, told, refused = np.zeros((0, DIM)), np.zeros(0), 0
        for direction in _directions(plan, DIM):
            guess: Vector = np.linalg.lstsq(probes, told)[0] if len(told) else np.zeros(DIM)
            probe = direction if len(told) < UNMATCHED_PROBES else unit(unit(guess) + 0.8 * direction)
            answer = _verify(caller, probe)
            if answer.status == 200:
                probes, told = np.vstack([probes, probe]), np.append(told, answer.body["similarity"])
            refused += answer.status >= 400
        cosine = scene.cosine(np.linalg.lstsq(probes, told)[0])
        return Result(DIM, refused, int(cosine >= RECOVERED), f"cosine to the template {cosine:.6f}")


def recover_by_decisions(plan: Plan) -> Result:
    """Verifications, searches that all find a decoy and enrolments, each about the best guess so far."""
    with opened_scene(plan.out / "recovery-decisions", plan.seed) as scene:
        caller, estimate = scene.caller(scene.key(scopes=DEFAULT_SCOPES)), Estimate()
        decoy = _directions(plan, 1)[0]
        enrol(caller, "decoy", decoy)
        statuses: Counter[int] = Counter()
        guess, best = np.zeros(DIM), 0.0
        for number, direction in enumerate(_directions(plan, plan.recovery_calls)):
            probe, answer = _ask(caller, number, direction, guess, decoy)
            statuses[answer.status] += 1
            told = _told(answer)
            if told is not None:
                estimate.note(probe, told)
                if told or (guess.any() and number % 20 == 0):
                    guess = unit(estimate.direction)
                    best = max(best, abs(scene.cosine(guess)))
        return _result(scene, statuses, estimate, best)


def _result(scene: Scene, statuses: Counter[int], estimate: Estimate, best: float) -> Result:
    cosine = scene.cosine(estimate.direction)
    refused = sum(count for status, count in statuses.items() if status >= 400)
    best = max(best, abs(cosine))
    return Result(statuses.total(), refused, int(best >= RECOVERED), f"cosine to the template at most {best:.3f}")


def _ask(caller: Caller, number: int, direction: Vector, guess: Vector, decoy: Vector) -> tuple[Vector, Answer]:
    """The probe that the attacker's turn calls for, and its answer."""
    about = unit(guess + direction) if guess.any() else direction  # so that half of the probes match
    if number % 50 == 0:  # each makes the gallery larger, and with it the searches that may fail
        return about, caller.post("enroll", [sample_of(about)], model=MODEL, subject_id=f"new-{number}")
    if number % 10 < 4:
        aside = unit(about - about @ decoy * decoy)
        probe = unit(DECOY_SHARE * decoy + aside) if number % 2 else about
        return probe, caller.post("identify", [sample_of(probe)], model=MODEL, top_k="100")
    return about, _verify(caller, about)


def _told(answer: Answer) -> bool | None:
    """Whether an answer says that a probe is the victim; None where it says nothing."""
    if answer.status >= 300:
        return None
    if "template_ids" in answer.body:
        similar = answer.body.get("similar_subjects")
        return None if similar is None else VICTIM in {one["subject_id"] for one in similar}
    if "candidates" in answer.body:
        return VICTIM in {answer.body["match"], *(one["subject_id"] for one in answer.body["candidates"])}
    return bool(answer.body["match"])


def _verify(caller: Caller, probe: Vector) -> Answer:
    return caller.post("verify", [sample_of(probe)], model=MODEL, subject_id=VICTIM)


def _directions(plan: Plan, count: int) -> Vector:
    rows = np.random.default_rng([plan.seed, count]).normal(size=(count, DIM))
    scaled: Vector = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled
