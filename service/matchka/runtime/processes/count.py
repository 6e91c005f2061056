"""How many processes serve a store where nobody says it; docs/decisions/191 has what was measured."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

CORES_OF_ONE: Final = 2  # that one Python process keeps busy
NEEDED_MIB: Final = 512  # of a process that serves all default bundles, without galleries: 370, and runs beside
MEMORY_SHARE: Final = 0.5  # of the memory, which processes fill at most
MOST: Final = 8  # a larger service is worth a look at docs/processes.md
LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def suitable_count(cores: int, memory_mib: float, enrolled_mib: float) -> int:
    """One process for two cores, as long as half of the memory holds all of them with their galleries.

    Args:
        cores: that may be kept busy.
        memory_mib: of the machine, or what a container may use of it.
        enrolled_mib: of the database: galleries take about as much in each process.

    Returns: >= 1.

    >>> [suitable_count(cores, 24_000, 0) for cores in (1, 2, 3, 4, 8, 64)]
    [1, 1, 1, 2, 4, 8]
    >>> suitable_count(8, 2048, 0), suitable_count(8, 8192, 1000)
    (2, 2)
    """
    room = int(MEMORY_SHARE * memory_mib / (NEEDED_MIB + enrolled_mib))
    return max(1, min(cores // CORES_OF_ONE, room, MOST))


def usable_memory_mib(limits: tuple[Path, ...] = LIMITS) -> float:
    """Memory of the machine, or the limit of this container (Linux) where that is lower.

    Args: limits: files that say it, if they are there.
    """
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in limits:
        with suppress(OSError, ValueError):  # not there, or `max`
            found = min(found, int(file.read_text(encoding="ascii")))
    return found / 2**20
