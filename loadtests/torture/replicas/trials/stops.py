"""Replicas that are told to stop, and replicas that are killed, behind the proxy and under load."""

import signal
import time

from loadtests.torture.replicas.scene import opened_scene, result_of
from loadtests.torture.replicas.trial import Plan, Result

KILLS_PER_DRAIN = 0.25


def drain_under_load(plan: Plan) -> Result:
    """SIGTERM to one replica after the other: every call is answered as if nothing happened."""
    took_s = []
    with opened_scene(plan, "drain") as scene:
        for turn in range(plan.drains):
            replica = scene.group.replicas[turn % plan.replicas]
            scene.let_pass()
            told = time.monotonic()
            replica.signal(signal.SIGTERM)
            status = replica.wait_until_ended()
            took_s.append(time.monotonic() - told)
            assert status == 0, f"{replica.name} ended with {status}"
            scene.bring_back(replica)
        journal, broken = scene.finish()
    broken = [str(failure) for failure in journal.failures] + broken
    note = f"{plan.drains} times SIGTERM, each took at most {max(took_s):.1f} s; {len(journal.failures)} calls failed"
    return result_of(journal, broken, note)


def kill_under_load(plan: Plan) -> Result:
    """SIGKILL: only what was in flight may fail, and what was acknowledged is held."""
    kills = max(2, round(plan.drains * KILLS_PER_DRAIN))
    moments = []
    with opened_scene(plan, "kill") as scene:
        for turn in range(kills):
            replica = scene.group.replicas[turn % plan.replicas]
            scene.let_pass()
            moments.append(time.monotonic())
            replica.signal(signal.SIGKILL)
            replica.wait_until_ended()
            scene.bring_back(replica)
        journal, broken = scene.finish()
    late = [one for one in journal.failures if not any(one.spans(moment) for moment in moments)]
    in_flight = len(journal.failures) - len(late)
    note = f"{kills} times SIGKILL; {in_flight} calls that were in flight failed, {len(late)} others"
    return result_of(journal, [f"not in flight: {one}" for one in late] + broken, note)
