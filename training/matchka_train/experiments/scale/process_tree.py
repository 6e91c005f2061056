"""CPU time and memory of this process and all that it started, once a second (Linux)."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EVERY_S = 1.0
SHOWN = 20  # figures of memory, evenly over time
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class ProcessTree:
    """What was seen so far."""

    def __init__(self) -> None:
        self._begun = {os.getpid(): _cpu_s(os.getpid())}
        self._cpu: dict[int, float] = {}
        self._memory_mib: list[float] = []

    @property
    def cpu_s(self) -> float:
        """Of all processes, those that ended included, up to a second of each."""
        return sum(seconds - self._begun.get(pid, 0.0) for pid, seconds in self._cpu.items())

    def look(self) -> None:
        """Note where they are."""
        memory = 0.0
        for pid in _tree():
            try:
                self._cpu[pid] = _cpu_s(pid)
                memory += _private_mib(pid)
            except (OSError, IndexError):
                continue  # it ended
        self._memory_mib.append(memory)

    def memory_mib(self) -> list[int]:
        """Memory that no file backs, of all together, over time; the last figure is the highest of all."""
        step = max(1, len(self._memory_mib) // SHOWN)
        return [round(mib) for mib in [*self._memory_mib[::step], max(self._memory_mib)]]


@contextmanager
def watched() -> Iterator[ProcessTree]:
    """Watch while the block runs."""
    tree, ended = ProcessTree(), threading.Event()

    def look() -> None:
        while not ended.wait(EVERY_S):
            tree.look()

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield tree
    finally:
        ended.set()
        watcher.join()
        tree.look()


def _tree() -> set[int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _cpu_s(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS_PER_S


def _private_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    values = {line.split(":")[0]: line.split()[1] for line in lines[1:]}
    return (int(values["Private_Dirty"]) + int(values["Private_Clean"])) / 1024
