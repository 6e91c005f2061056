"""How many processes serve a store where nobody says it; docs/decisions/191 has what was measured."""

import math
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

CORES_OF_ONE: Final = 2  # that one Python process keeps busy
NEEDED_MIB: Final = 512  # of a process that serves all default bundles, without galleries: 370, and runs beside
OWN_SHARE: Final = 0.2  # of a gallery: a twelfth at first, and pages of rows that were changed since
MEMORY_SHARE: Final = 0.5  # of the memory, which processes fill at most
MOST: Final = 8  # a larger service is worth a look at docs/processes.md
CGROUPS: Final = Path("/sys/fs/cgroup")
CGROUPS_OF_SELF: Final = Path("/proc/self/cgroup")


def suitable_count(cores: int, memory_mib: float, enrolled_mib: float, own_share: float = OWN_SHARE) -> int:
    """One process for two cores, as long as half of the memory holds all of them with their galleries.

    Args:
        cores: that may be kept busy.
        memory_mib: of the machine, or what a container may use of it.
        enrolled_mib: of the database: galleries take about as much.
        own_share: of it, what each process holds for itself; the rest all of them hold once.

    Returns: >= 1.

    >>> [suitable_count(cores, 24_000, 0) for cores in (1, 2, 3, 4, 8, 64)]
    [1, 1, 1, 2, 4, 8]
    >>> suitable_count(8, 2048, 0), suitable_count(8, 8192, 1500), suitable_count(8, 8192, 1500, own_share=1)
    (2, 3, 2)
    """
    held_once_mib = (1 - own_share) * enrolled_mib
    room = int((MEMORY_SHARE * memory_mib - held_once_mib) / (NEEDED_MIB + own_share * enrolled_mib))
    return max(1, min(cores // CORES_OF_ONE, room, MOST))


def usable_memory_mib(limits: Iterable[Path]) -> float:
    """Memory of the machine, or the lowest limit of this container (Linux) where one is lower.

    Args: limits: files that say one, if they are there; `memory.max`, or `memory.limit_in_bytes` of older systems.
    """
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in limits:
        with suppress(OSError, ValueError):  # not there, or `max`
            found = min(found, int(file.read_text(encoding="ascii")))
    return found / 2**20


def usable_cores(cores: int, quotas: Iterable[Path]) -> int:
    """Cores, or as many as a quota of this container (Linux) allows where one is lower; at least one.

    Args:
        cores: that the service may keep busy.
        quotas: files that say one, if they are there; `cpu.max`, in microseconds of so many.
    """
    for file in quotas:
        with suppress(OSError, ValueError):  # not there, or `max`
            quota, period = map(int, file.read_text(encoding="ascii").split())
            cores = min(cores, max(1, math.ceil(quota / period)))
    return cores


def files_of_cgroups(
    name: str, name_before: str = "", root: Path = CGROUPS, of_self: Path = CGROUPS_OF_SELF
) -> list[Path]:
    """Where limits of this process may stand: in its control groups and all that hold these.

    Args:
        name: of the file, in a hierarchy of version 2.
        name_before: of the file in that of version 1, for memory; none by default.
        root: where the hierarchies are mounted.
        of_self: names the groups.
    """
    try:
        lines = of_self.read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return []
    found = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        folder = PurePosixPath(group.lstrip("/"))
        if not controllers:
            found += [root / place / name for place in (folder, *folder.parents)]
        elif name_before and "memory" in controllers.split(","):
            found += [root / "memory" / place / name_before for place in (folder, *folder.parents)]
    return found
