"""What must be true of a server that was killed and started again, compared while nothing else goes on."""

import random
from collections import Counter

from loadtests.client.caller import Caller
from loadtests.torture.chips import MODEL, ChipPool
from loadtests.torture.journal import Journal, Sight
from loadtests.torture.traffic import TOP_K, compare_ranking

PAGE = 40


def check_quiet_server(
    port: int, journal: Journal, pool: ChipPool, rng: random.Random, probes: int, compared: Counter[str]
) -> None:
    """Settle what was unanswered, then compare the store and the index with the journal.

    Args:
        port: of a server that nobody else calls.
        journal: complaints go there.
        pool: the chips.
        rng: chooses the probes.
        probes: held subjects that are looked for with a template of their own.
        compared: what was compared is counted there.
    """
    caller = Caller(port)
    try:
        listed = _list_subjects(caller)
        for subject_id in journal.subjects:
            violation = journal.settle(subject_id, _templates_of(caller, subject_id))
            if violation:
                journal.note_violation(violation)
            compared["subjects"] += 1
        sights = journal.sights()
        held = {name: len(journal.subjects[name].templates) for name, sight in sights.items() if sight.chips}
        if listed != held:
            journal.note_violation(f"the list of subjects differs: {dict(set(listed.items()) ^ set(held.items()))}")
        for subject_id in rng.sample(sorted(held), min(probes, len(held))):
            _check_search(caller, journal, pool, sights, subject_id)
            compared["similarities"] += len(sights)
    finally:
        caller.close()


def _list_subjects(caller: Caller) -> dict[str, int]:
    listed: dict[str, int] = {}
    cursor = ""
    while True:
        page = caller.get(f"subjects?limit={PAGE}{cursor}").body
        listed |= {one["subject_id"]: one["template_count"] for one in page["subjects"]}
        if page["next_cursor"] is None:
            return listed
        cursor = f"&cursor={page['next_cursor']}"


def _templates_of(caller: Caller, subject_id: str) -> list[str] | None:
    answer = caller.get(f"subjects/{subject_id}")
    return [one["template_id"] for one in answer.body["templates"]] if answer.status == 200 else None


def _check_search(caller: Caller, journal: Journal, pool: ChipPool, sights: dict[str, Sight], own: str) -> None:
    probe = min(sights[own].chips)
    answer = caller.post("identify", [pool.chips[probe]], model=MODEL, top_k=str(TOP_K), face="aligned")
    if answer.status != 200:
        journal.note_violation(f"identify after the restart: {answer}")
        return
    violations = compare_ranking(pool, probe, sights, answer)
    held = {name: sight.chips for name, sight in sights.items() if sight.chips}
    if answer.body["gallery_size"] != len(held):
        violations.append(f"gallery_size is {answer.body['gallery_size']}, and {len(held)} are held")
    thresholds = {one["subject_id"]: one["threshold"] for one in answer.body["candidates"]}
    listed = thresholds.keys() & held.keys()  # who is missing is said above
    nearest = max(listed, key=lambda name: pool.similarity(held[name], probe) - thresholds[name], default=None)
    if listed and answer.body["candidates"][0]["subject_id"] != nearest:
        violations.append(f"{answer.body['candidates'][0]} is first, and {nearest} lies highest above its threshold")
    for violation in violations:
        journal.note_violation(f"identify {own} after the restart: {violation}")
