"""Many enrolments and deletions of the same few subjects at once, over all replicas."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from loadtests.torture.replicas import people
from loadtests.torture.replicas.group import Group, opened_group
from loadtests.torture.replicas.trial import Plan, Result

CALLERS = 24
SUBJECTS = 10
ALLOWED = {"enrol": {201}, "delete": {204, 404}}  # 404: somebody else was first
SHARE_DELETED = 0.2


def change_the_same_subjects(plan: Plan) -> Result:
    """No call may fail, and afterwards every reference, count and gallery has to be what the templates say."""
    with opened_group(plan.out / "contention", plan.cluster, plan.replicas) as group:
        with ThreadPoolExecutor(CALLERS) as pool:
            each = [plan.calls // CALLERS + (place < plan.calls % CALLERS) for place in range(CALLERS)]
            counted = list(pool.map(lambda place: _change(plan, group, place, each[place]), range(CALLERS)))
        answers: Counter[tuple[str, int]] = sum(counted, Counter())
        broken = [
            f"{count} times {call} answered {status}"
            for (call, status), count in answers.items()
            if status not in ALLOWED[call]
        ]
        right = sum(count for (call, status), count in answers.items() if status in ALLOWED[call])
        broken += group.disagreements()
        enrolled, deleted = (sum(n for (one, _), n in answers.items() if one == call) for call in ALLOWED)
        note = f"{enrolled} enrolments and {deleted} deletions of {SUBJECTS} subjects, {CALLERS} at once"
        return Result(plan.calls, right, tuple(broken), note)


def _change(plan: Plan, group: Group, place: int, calls: int) -> Counter[tuple[str, int]]:
    rng = random.Random(f"{plan.seed} {place}")
    callers = [replica.caller() for replica in group.replicas]
    answers: Counter[tuple[str, int]] = Counter()
    for number in range(calls):
        caller, subject = rng.choice(callers), rng.randrange(SUBJECTS)
        if rng.random() < SHARE_DELETED:
            answers["delete", people.delete(caller, subject).status] += 1
        else:
            sample = people.another_sample(plan.seed, subject, place * plan.calls + number)
            answers["enrol", people.enrol(caller, subject, sample).status] += 1
    for caller in callers:
        caller.close()
    return answers
