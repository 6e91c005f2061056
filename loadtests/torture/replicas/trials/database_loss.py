"""The database is killed, and hangs, under load: what was acknowledged stays, and the service comes back by itself."""

import signal
import time
from collections.abc import Callable
from typing import Final

from loadtests.torture.replicas.scene import opened_scene, result_of
from loadtests.torture.replicas.trial import Plan, Result

TURNS = 2
AWAY_S = 3.0
# a database that is away is said to be so, and a caller that waited for a stopped one is told after a bound
HONEST: Final = frozenset({503})


def kill_the_database(plan: Plan) -> Result:
    """SIGKILL to all of its processes, then a new start: nothing acknowledged is lost."""

    def lose() -> None:
        plan.cluster.kill()
        time.sleep(AWAY_S)
        plan.cluster.start()

    return _lose(plan, "database-killed", "killed", lose)


def hang_the_database(plan: Plan) -> Result:
    """SIGSTOP to all of its processes: calls are answered within a bound, and go on when it does."""

    def lose() -> None:
        plan.cluster.signal(signal.SIGSTOP)
        try:
            time.sleep(plan.pause_s)
        finally:
            plan.cluster.signal(signal.SIGCONT)

    return _lose(plan, "database-hung", f"hung {plan.pause_s:g} s", lose)


def _lose(plan: Plan, name: str, what: str, lose: Callable[[], None]) -> Result:
    back_s = []
    with opened_scene(plan, name) as scene:
        for _ in range(TURNS):
            scene.let_pass()
            lose()
            back_s.append(scene.let_pass())
        journal, broken = scene.finish()
    dishonest = [one for one in journal.failures if one.status not in HONEST]
    longest = max((one.ended - one.began for one in journal.failures), default=0.0)
    note = (
        f"{TURNS} times {what}; {len(journal.held)} enrolments and {len(journal.deleted)} deletions acknowledged; "
        f"{len(journal.failures)} calls answered 503, within {longest:.1f} s; back after {max(back_s):.1f} s"
    )
    return result_of(journal, [str(one) for one in dishonest] + broken, note)
