"""A trial of several replicas, how much is tried in it, and what came of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loadtests.clusters import Cluster


@dataclass(frozen=True)
class Plan:
    """How much is tried.

    Attributes:
        out: where files go.
        cluster: the PostgreSQL of all trials.
        replicas: processes on one database, at least 2.
        pairs: of a change on one replica and a question to another.
        calls: enrolments and deletions at once, of the same few subjects.
        drains: times that a replica is told to stop under load; a quarter as often it is killed.
        pause_s: for which a replica's follower, or the database, gives no sign.
        seed: of all that is random.
    """

    out: Path
    cluster: Cluster
    replicas: int = 2
    pairs: int = 10_000
    calls: int = 1000
    drains: int = 20
    pause_s: float = 30.0
    seed: int = 1


@dataclass(frozen=True)
class Result:
    """What came of a trial.

    Attributes:
        tried: calls, or whatever the trial counts.
        right: how many of them were as promised.
        broken: what was not, in words; the same kind once.
        note: figures for people.
    """

    tried: int
    right: int
    broken: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Trial:
    """Something that happens to replicas, and what must hold then.

    Attributes:
        name: in the table.
        promise: what must hold.
        run: tries it.
    """

    name: str
    promise: str
    run: Callable[[Plan], Result]
