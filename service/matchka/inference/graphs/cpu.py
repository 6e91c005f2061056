"""The CPU that this process runs on: its name, and which instructions it has."""

import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

CPU_INFO: Final = Path("/proc/cpuinfo")


def cpu_features(info: str | None = None) -> frozenset[str]:
    r"""Instruction sets by Linux's names, such as `avx512_vnni`; none where the system does not list them.

    Args: info: what /proc/cpuinfo says; read by default.

    >>> sorted(cpu_features("processor: 0\nflags : fpu avx2\n\nprocessor: 1\nflags : fpu avx2 avx_vnni\n"))
    ['avx2', 'fpu']
    """
    listed = [frozenset(value.split()) for value in _values(info, "flags")]
    return frozenset[str].intersection(*listed) if listed else frozenset()  # what every core has


def cpu_model(info: str | None = None) -> str:
    r"""What the CPU calls itself.

    Args: info: what /proc/cpuinfo says; read by default.

    >>> cpu_model("model name\t: A fast one\n")
    'A fast one'
    """
    return next(_values(info, "model name"), platform.processor() or platform.machine())


def _values(info: str | None, name: str) -> Iterator[str]:
    if info is None:
        info = CPU_INFO.read_text(encoding="utf-8", errors="replace") if CPU_INFO.is_file() else ""
    return (found.strip() for found in re.findall(rf"^{name}\s*:(.*)$", info, re.MULTILINE))
