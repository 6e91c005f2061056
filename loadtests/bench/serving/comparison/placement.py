"""Which cores the servers have, and which the client that asks them."""

import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Placement:
    """Attributes: servers, client: cores by the system's numbers; the same ones where there is none to spare."""

    servers: frozenset[int]
    client: frozenset[int]

    @property
    def note(self) -> str:
        """Where everybody runs, for people."""
        where = "on a core of its own" if self.client.isdisjoint(self.servers) else "on the same ones"
        return f"servers pinned to {len(self.servers)} core(s), the client {where}"


def placement(cores: int, usable: Collection[int]) -> Placement:
    """Give the servers some cores, and the client one of the others, if there are any.

    Args:
        cores: of the servers, 1..len(usable).
        usable: cores of this process.

    >>> placement(2, {4, 5, 6, 7})
    Placement(servers=frozenset({4, 5}), client=frozenset({7}))
    >>> placement(2, {0, 1}).note
    'servers pinned to 2 core(s), the client on the same ones'
    """
    ordered = sorted(usable)
    servers = frozenset(ordered[:cores])
    return Placement(servers, frozenset(ordered[-1:]) - servers or servers)


def read_cores(text: str, usable: int) -> list[int]:
    """Numbers of cores to measure on, ascending; all usable ones where the text names none.

    Raises: ValueError: one is no number from 1 to `usable`.

    >>> read_cores("4,1,2", 4), read_cores("", 4)
    ([1, 2, 4], [4])
    """
    chosen = {int(part) for part in text.split(",") if part.strip()} or {usable}
    wrong = [cores for cores in chosen if not 1 <= cores <= usable]
    if wrong:
        raise ValueError(f"cores must be 1 to {usable}, not {', '.join(map(str, wrong))}")
    return sorted(chosen)


def usable_cores() -> frozenset[int]:
    """Cores of this process."""
    if sys.platform == "linux":
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


@contextmanager
def on_cores(cores: Collection[int]) -> Iterator[None]:
    """Keep this thread on some cores within the block, and what it starts there for good (Linux)."""
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
