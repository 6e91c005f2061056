"""A change on one replica, then a question to another: with the position, and without it."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from loadtests.client.caller import Answer, Caller
from loadtests.torture.replicas import people
from loadtests.torture.replicas.group import Group, opened_group
from loadtests.torture.replicas.people import subject_of
from loadtests.torture.replicas.traffic import POSITION
from loadtests.torture.replicas.trial import Plan, Result

CALLERS = 8
SHARE_KEPT = 0.25  # of the people, so that the gallery grows
STALENESS_SAMPLES = 300
STALENESS_BOUND_S = 0.5  # of the 99th percentile
NEVER_S = 60.0


@dataclass
class Seen:
    """What a caller saw. Attributes: late: answers of 503, after which the caller asked again, as it is told to."""

    asked: int = 0
    late: int = 0
    wrong: list[str] = field(default_factory=list)


def read_your_writes(plan: Plan) -> Result:
    """Enrol or delete on one, identify on another with the position; then how stale an answer without it is."""
    with opened_group(plan.out / "position", plan.cluster, plan.replicas) as group:
        with ThreadPoolExecutor(CALLERS) as pool:
            seen = list(pool.map(lambda place: _pairs(plan, group, place), range(CALLERS)))
        stale_s = _staleness(plan, group)
        broken = [problem for one in seen for problem in one.wrong] + group.disagreements()
    asked, wrong, late = (sum(n) for n in zip(*((one.asked, len(one.wrong), one.late) for one in seen), strict=True))
    p50, p99 = np.percentile(stale_s, (50, 99))
    if p99 > STALENESS_BOUND_S:
        broken.append(f"without a position the 99th percentile of staleness is {p99:.2f} s")
    note = (
        f"{late} asked again after a 503; without a position {len(stale_s)} enrolments were seen elsewhere after "
        f"{1e3 * p50:.0f} ms (p50), {1e3 * p99:.0f} ms (p99), {1e3 * max(stale_s):.0f} ms (longest)"
    )
    return Result(asked, asked - wrong, tuple(broken), note)


def _pairs(plan: Plan, group: Group, place: int) -> Seen:
    """One caller's share: whom it enrols it looks for, and most of them it deletes and looks for again."""
    rng, seen = random.Random(f"{plan.seed} {place}"), Seen()
    callers = [replica.caller() for replica in group.replicas]
    number = place
    while seen.asked < plan.pairs // CALLERS:
        one, other = rng.sample(callers, 2)
        sample = people.sample(plan.seed, number)
        enrolled = people.enrol(one, number, sample)
        answer = _ask(other, sample, enrolled, 201, seen)
        if answer is not None and answer.body["match"] != subject_of(number):
            seen.wrong.append(f"{subject_of(number)} was enrolled, and {answer.body['match']} is found")
        if rng.random() >= SHARE_KEPT:
            one, other = rng.sample(callers, 2)
            answer = _ask(other, sample, people.delete(one, number), 204, seen)
            if answer is not None and subject_of(number) in people.candidates_of(answer):
                seen.wrong.append(f"{subject_of(number)} was deleted, and is found")
        number += CALLERS
    for caller in callers:
        caller.close()
    return seen


def _ask(caller: Caller, sample: bytes, change: Answer, expected: int, seen: Seen) -> Answer | None:
    """The answer of another replica to who has seen a change."""
    seen.asked += 1
    if change.status != expected or POSITION.lower() not in change.headers:
        seen.wrong.append(f"a change answered {change.status}, with the headers {sorted(change.headers)}")
        return None
    position = {POSITION: change.headers[POSITION.lower()]}
    answer = people.identify(caller, sample, position)
    while answer.status == 503:
        seen.late += 1
        answer = people.identify(caller, sample, position)
    if answer.status != 200:
        seen.wrong.append(f"identify answered {answer.status}: {answer.body}")
        return None
    return answer


def _staleness(plan: Plan, group: Group) -> list[float]:
    """Seconds from the answer to an enrolment until another replica finds that person, who does not say since when."""
    found_s = []
    callers = [replica.caller() for replica in group.replicas]
    for number in range(plan.pairs, plan.pairs + min(STALENESS_SAMPLES, plan.pairs)):
        one, other = callers[number % len(callers)], callers[(number + 1) % len(callers)]
        sample = people.sample(plan.seed, number)
        people.enrol(one, number, sample)
        began = time.monotonic()
        while time.monotonic() < began + NEVER_S:
            asked_at = time.monotonic()
            if people.identify(other, sample).body["match"] == subject_of(number):
                break
        found_s.append(asked_at - began)
    return found_s
