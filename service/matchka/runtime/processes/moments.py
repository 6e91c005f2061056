"""Moments by name, counted in one process or in all of a service: what a limit over several processes remembers."""

import contextlib
import mmap
import os
import struct
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from hashlib import blake2b
from threading import Lock
from typing import Final, Protocol

NEVER: Final = float("-inf")  # of a name that nothing is known of
NAME_BYTES: Final = 16
PLACE: Final = struct.Struct(f"{NAME_BYTES}sd")
PLACES: Final = 8192
NEIGHBOURS: Final = 16  # places that a name may have; the least moment of them makes room, which says least
ATTEMPTS: Final = 100  # to have the table, each some microseconds of another process; then it is changed all the same
PAUSE_S: Final = 50e-6


class Moments(Protocol):
    """Monotonic seconds by name."""

    def change(self, name: str, step: Callable[[float], float]) -> float:
        """Replace a moment, with no other change in between.

        Args:
            name: whose.
            step: from the moment before, NEVER where there is none, to the one from now on; nothing is kept of NEVER.

        Returns: the moment before.
        """
        ...


class OwnMoments:
    """Those of one process. Safe for threads.

    Args: most: names kept; that which was changed longest ago is forgotten first. All by default.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._moments: OrderedDict[str, float] = OrderedDict()
        self._lock = Lock()

    def change(self, name: str, step: Callable[[float], float]) -> float:
        """Replace a moment; see Moments."""
        with self._lock:
            before = self._moments.get(name, NEVER)
            after = step(before)
            if after > NEVER:
                self._moments[name] = after
                self._moments.move_to_end(name)
                if self._most is not None and len(self._moments) > self._most:
                    self._moments.popitem(last=False)
        return before


class SharedMoments:
    """Those of all processes that have one file, in memory. Safe for threads.

    A name is kept as its digest. Where more names come together than have room, that whose moment is the earliest is
    forgotten. A process that is killed while it changes the table lets go of it.

    Args: file: as made by shared_file(), open for reading and writing.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._table = mmap.mmap(file, PLACES * PLACE.size)
        self._lock = Lock()  # among threads, which the file's does not keep apart

    def change(self, name: str, step: Callable[[float], float]) -> float:
        """Replace a moment; see Moments."""
        digest = blake2b(name.encode(), digest_size=NAME_BYTES).digest()
        first = int.from_bytes(digest[:4]) % (PLACES // NEIGHBOURS) * NEIGHBOURS
        with self._lock, self._alone():
            offset, least, before = 0, float("inf"), NEVER
            for number in range(first, first + NEIGHBOURS):
                held, moment = PLACE.unpack_from(self._table, number * PLACE.size)
                if held == digest:
                    offset, before = number * PLACE.size, moment
                    break
                if moment < least:
                    offset, least = number * PLACE.size, moment
            after = step(before)
            if after > NEVER:
                PLACE.pack_into(self._table, offset, digest, after)
        return before

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes out; for no longer than they may take, since a request waits."""
        import fcntl  # there is none on Windows, where there is one process

        has_it = False
        for _ in range(ATTEMPTS):
            with contextlib.suppress(BlockingIOError):
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                has_it = True
                break
            time.sleep(PAUSE_S)
        try:
            yield
        finally:
            if has_it:
                fcntl.lockf(self._file, fcntl.LOCK_UN)


def shared_file() -> int:
    """A file in memory for SharedMoments, without a name; inherited by processes that it is handed to."""
    if sys.platform == "linux":
        file = os.memfd_create("matchka-moments")
    else:
        import tempfile

        made = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as its descriptor
        file = os.dup(made.fileno())
        made.close()
    os.ftruncate(file, PLACES * PLACE.size)
    return file


def gallery_files() -> tuple[int, ...]:
    """Two files in memory, for rows of galleries and for their locks; none where the system has no such files."""
    if sys.platform != "linux":
        return ()
    files = os.memfd_create("matchka-galleries"), os.memfd_create("matchka-gallery-locks")
    for file in files:
        os.fchmod(file, 0)  # nobody opens it by way of /proc: it is for those who inherit it
    return files
