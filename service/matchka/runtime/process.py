"""Settings of the process: turns of threads, freed memory (docs/decisions/053), BLAS; no core dumps, no orphans."""

import ctypes
import os
import platform
import signal
import sys
from typing import Final

# A thread that comes back from the graph waits for Python's lock, and its core idles: by default 5 ms before it asks.
TURN_S: Final = 0.0005
# Parameters of glibc's mallopt(3). A decoded clip is larger than the 128 KiB from which on memory is fetched from the
# system and given back each time, which stops all threads for a moment.
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8
MOST_HEAPS: Final = 4  # that threads share; by default eight for each core, each of which would keep as much
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
KEPT_MIB: Final = 64  # free memory at the end of a heap that is not given back
OWN_BLOCK_MIB: Final = 32  # blocks from this size on are given back at once; glibc takes no larger figure
# Of the libraries that numpy may be built with; each reads its own once, when it is loaded.
BLAS_THREADS: Final = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def use_one_blas_thread() -> None:
    """Let a thread multiply matrices by itself, unless the environment says otherwise; before numpy is imported.

    A service has a request for each core. A product of candidates with a probe is done before its helpers have begun,
    and they keep their cores busy waiting for the next one (docs/decisions/203).
    """
    for name in BLAS_THREADS:
        os.environ.setdefault(name, "1")


def forbid_core_dumps() -> None:
    """Let a crash write no image of this process: it would hold templates and samples of people."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def end_with_parent() -> None:
    """Let the kernel kill this process when the one that started it ends, however that ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def tune_process() -> None:
    """Set the length of a thread's turn, and keep freed memory for the next sample; the latter with glibc only."""
    sys.setswitchinterval(TURN_S)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_ARENA_MAX, MOST_HEAPS)
        libc.mallopt(M_MMAP_THRESHOLD, OWN_BLOCK_MIB << 20)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_MIB << 20)


def give_back_memory() -> None:
    """Return all freed memory to the system, with glibc only: after more was freed at once than will be needed soon."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
