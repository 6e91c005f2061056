"""Replicas behind the proxy under load, and what the callers saw."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from loadtests.server import ServerProcess
from loadtests.torture.replicas.group import Group, Replica, opened_group
from loadtests.torture.replicas.proxy import caller_through, opened_proxy
from loadtests.torture.replicas.traffic import Journal, Traffic, lost_writes, started_traffic
from loadtests.torture.replicas.trial import Plan, Result

ANSWERED = 50  # calls that have to succeed before anything else happens
SETTLED_S = (0.3, 1.2)
BOUND_S = 120.0  # for that
NOTICED_S = 2.0  # a proxy's look at a replica that is back: rise x fastinter, and an interval


class NoProgressError(Exception):
    """Nothing was answered for too long."""


@dataclass(frozen=True)
class Scene:
    """A group under load.

    Attributes:
        group: the replicas.
        proxy: before them.
        traffic: through it.
        rng: chooses moments.
    """

    group: Group
    proxy: ServerProcess
    traffic: Traffic
    rng: random.Random

    def let_pass(self) -> float:
        """Let traffic go on for a random while from when it does.

        Returns: seconds until then.
        Raises: NoProgressError: nobody is answered.
        """
        began = time.monotonic()
        self._wait_until_answered()
        answered_after_s = time.monotonic() - began
        time.sleep(self.rng.uniform(*SETTLED_S))
        return answered_after_s

    def _wait_until_answered(self) -> None:
        begun, deadline = self.traffic.answered(), time.monotonic() + BOUND_S
        while self.traffic.answered() < begun + ANSWERED:
            if time.monotonic() > deadline:
                raise NoProgressError(f"fewer than {ANSWERED} calls were answered in {BOUND_S:g} s")
            time.sleep(0.01)

    def bring_back(self, replica: Replica) -> None:
        """Start a replica that ended, and wait until the proxy uses it again."""
        replica.start()
        replica.wait_until_ready()
        wait_until_used()

    def finish(self) -> tuple[Journal, list[str]]:
        """End the traffic; what is wrong with its answers, with what is stored, and with the galleries."""
        journal = self.traffic.finish()
        caller = caller_through(self.proxy)
        lost = lost_writes(caller, journal)
        caller.close()
        return journal, journal.wrong + lost + self.group.disagreements()


def wait_until_used() -> None:
    """Until a proxy sends requests to a replica that is ready again."""
    time.sleep(NOTICED_S)


@contextmanager
def opened_scene(plan: Plan, name: str, with_keys: bool = True, **settings: object) -> Iterator[Scene]:
    """A group of its own, under load when the block begins; see opened_group."""
    folder = plan.out / name
    with (
        opened_group(folder, plan.cluster, plan.replicas, **settings) as group,
        opened_proxy(folder, [group]) as proxy,
    ):
        traffic = started_traffic(lambda: caller_through(proxy), plan.seed, with_keys=with_keys)
        try:
            yield Scene(group, proxy, traffic, random.Random(plan.seed))
        finally:
            traffic.finish()


def result_of(journal: Journal, broken: list[str], note: str) -> Result:
    """A result by calls."""
    tried = sum(count for kind, count in journal.calls.items() if kind != "answered")
    return Result(tried, journal.calls["answered"] - len(journal.wrong), tuple(broken), note)
