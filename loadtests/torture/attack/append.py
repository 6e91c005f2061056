"""Append: a key that may enrol, but not append, adds its holder's sample to somebody else's subject."""

import numpy as np

from loadtests.client.caller import Answer
from loadtests.torture.attack.attack import Plan, Result
from loadtests.torture.attack.scene import FIRST_KEY, MODEL, VICTIM, opened_scene, unit
from tests.factories.direct_embedder import DIM, sample_of

FIELDS: tuple[dict[str, str], ...] = (
    {},
    {"mode": "create_or_append"},
    {"mode": "append"},
    {"mode": "create"},
    {"mode": "append", "force": "true"},
    {"on_duplicate": "report"},
)


def append_without_the_scope(plan: Plan) -> Result:
    """Every way to say it, with the attacker's own sample and with one that is like the victim's."""
    with opened_scene(plan.out / "append", plan.seed) as scene:
        caller, owner = scene.caller(scene.key()), scene.caller(FIRST_KEY)
        own = unit(np.random.default_rng([plan.seed, 5]).normal(size=DIM))
        before = owner.get(f"subjects/{VICTIM}").body
        answers: list[Answer] = []
        for direction in (own, unit(scene.template + 0.3 * own)):
            for fields in FIELDS:
                sample = [sample_of(direction)]
                answers.append(caller.post("enroll", sample, model=MODEL, subject_id=VICTIM, **fields))
        leaked = sum(answer.status < 400 for answer in answers)
        leaked += owner.get(f"subjects/{VICTIM}").body != before
        replay = owner.post("verify", [sample_of(own)], model=MODEL, subject_id=VICTIM)
        leaked += bool(replay.body["match"])
        codes = sorted({answer.body["code"] for answer in answers if answer.status >= 400})
        refused = sum(answer.status >= 400 for answer in answers)
        return Result(len(answers), refused, leaked, f"refused as {', '.join(codes)}")
