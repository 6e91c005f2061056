"""A replica that cannot follow the store for a while: what it answers meanwhile, and how it comes back."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import make_url

from loadtests.client.caller import Answer, Caller
from loadtests.torture.replicas import people
from loadtests.torture.replicas.group import Replica, opened_group
from loadtests.torture.replicas.people import subject_of
from loadtests.torture.replicas.trial import Plan, Result

PEOPLE = 60
TOP_K = 5
TOLERANCE = 1e-4  # of a cosine: embeddings are kept as float32
ROLE = "lagging"  # the replica's own user of the database, who may read all but the table that the feed asks first
FEED_TABLE = "change_horizon"
BACK_BOUND_S = 60.0


def pause_a_follower(plan: Plan) -> Result:
    """What was deleted elsewhere influences nothing, and as many candidates come as were asked for."""
    with opened_group(plan.out / "paused", plan.cluster, plan.replicas) as group:
        ahead, behind = group.replicas[:2]
        _give_own_user(plan, behind)
        writer, reader = ahead.caller(), behind.caller()
        for number in range(PEOPLE):
            people.enrol(writer, number, people.sample(plan.seed, number))
        _wait_until_found(plan, reader, PEOPLE - 1)
        broken: list[str] = []
        asked = 0
        with _paused(plan, behind):
            deleted, held = range(0, PEOPLE, 2), range(1, PEOPLE, 2)
            for number in deleted:
                people.delete(writer, number)
                people.enrol(writer, PEOPLE + number, people.sample(plan.seed, PEOPLE + number))
            end = time.monotonic() + plan.pause_s
            while time.monotonic() < end:
                probe = asked % PEOPLE
                answer = people.identify(reader, people.sample(plan.seed, probe), top_k=TOP_K)
                broken += differences(plan.seed, probe, held, answer)
                asked += 1
            was_behind = _is_unseen(plan, reader, PEOPLE)
        began = time.monotonic()
        _wait_until_found(plan, reader, PEOPLE)
        back_s = time.monotonic() - began
        if not was_behind:
            broken.append("the follower was not paused: it knew who was enrolled meanwhile")
        kinds = tuple(dict.fromkeys(broken))
        note = (
            f"paused {plan.pause_s:g} s, {len(deleted)} deleted and {len(deleted)} enrolled; back after {back_s:.1f} s"
        )
        return Result(asked, asked - len(broken), kinds + tuple(group.disagreements()), note)


def differences(seed: int, probe: int, held: Sequence[int], answer: Answer) -> list[str]:
    """How an answer of identify differs from a slow search among some people.

    Args:
        seed: of all people.
        probe: whose sample was sent.
        held: whom the replica knows, and who are not deleted.
        answer: to TOP_K candidates.
    """
    if answer.status != 200:
        return [f"identify answered {answer.status}: {answer.body}"]
    likeness = {subject_of(number): people.cosine(seed, probe, number) for number in held}
    expected = sorted(likeness, key=lambda name: -likeness[name])[:TOP_K]
    candidates = {one["subject_id"]: one["cosine"] for one in answer.body["candidates"]}
    wrong = []
    if list(candidates) != expected:
        wrong.append(f"{subject_of(probe)} resembles {list(candidates)}, and not {expected}")
    elif any(abs(candidates[name] - likeness[name]) > TOLERANCE for name in expected):
        wrong.append(f"cosines of {subject_of(probe)} differ: {candidates}")
    # one search in a hundred for somebody who is not enrolled may find another: the rate that is promised
    right = {subject_of(probe)} if probe in held else {None, *expected}
    if answer.body["match"] not in right:
        wrong.append(f"{subject_of(probe)} is {answer.body['match']}")
    return wrong


def _is_unseen(plan: Plan, reader: Caller, number: int) -> bool:
    return people.identify(reader, people.sample(plan.seed, number)).body["match"] != subject_of(number)


def _wait_until_found(plan: Plan, reader: Caller, number: int) -> None:
    """Until a replica identifies somebody. Raises: RuntimeError: it does not."""
    deadline = time.monotonic() + BACK_BOUND_S
    while _is_unseen(plan, reader, number):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{subject_of(number)} was not found for {BACK_BOUND_S:g} s")
        time.sleep(0.01)


def _give_own_user(plan: Plan, replica: Replica) -> None:
    """Start a replica again as a user of its own, who may do all that it needs."""
    url = make_url(str(replica.settings["database_url"]))
    for statement in (
        f"CREATE ROLE {ROLE} LOGIN",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}",
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {ROLE}",
    ):
        plan.cluster.execute(statement, str(url.database))
    replica.settings["database_url"] = url.set(username=ROLE).render_as_string(hide_password=False)
    replica.end()
    replica.start()
    replica.wait_until_ready()


@contextmanager
def _paused(plan: Plan, replica: Replica) -> Iterator[None]:
    """Every look of its follower at the feed fails until the end of the block."""
    database = str(make_url(str(replica.settings["database_url"])).database)
    plan.cluster.execute(f"REVOKE SELECT ON {FEED_TABLE} FROM {ROLE}", database)
    try:
        yield
    finally:
        plan.cluster.execute(f"GRANT SELECT ON {FEED_TABLE} TO {ROLE}", database)
