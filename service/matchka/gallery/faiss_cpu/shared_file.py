"""Rows of galleries in a file in memory, which all processes of a service map: each changes them for itself alone."""

import json
import logging
import mmap
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from matchka.gallery.faiss_cpu.columns import Columns, Keys, cuts_of

HEADER: Final = struct.Struct("<QQI")  # where the directory is, its bytes, its checksum
CHANGED: Final = struct.Struct("<Q")
CHANGED_AT: Final = 64  # in the first page, as the header is
FILLING, USING = 0, 1  # bytes of the file of locks
PAUSE_S: Final = 0.05
LONGEST_WAIT_S: Final = 900.0  # for another process that fills galleries; ten million subjects take minutes
ZEROS: Final = 1 << 20  # bytes overwritten at once

LOGGER: Final = logging.getLogger("matchka.gallery")

Directory: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a block lies. Attributes: offset: in the file; capacity: rows it has room for; size: rows in use."""

    offset: int
    capacity: int
    full_dim: int
    size: int

    def columns(self) -> Iterator[tuple[int, npt.DTypeLike, tuple[int, ...]]]:
        """Offset, type and shape of each column: keys, segments, inverse lengths; each begins a page."""
        offset = self.offset
        of_row: list[tuple[npt.DTypeLike, tuple[int, ...]]] = [(np.int64, ())]
        of_row += [(np.float32, (stop - start,)) for start, stop in cuts_of(self.full_dim)]
        of_row += [(np.float32, ())]
        for dtype, shape in of_row:
            yield offset, dtype, (self.capacity, *shape)
            offset += _paged(self.capacity * int(np.prod(shape, dtype=int)) * np.dtype(dtype).itemsize)

    @property
    def end(self) -> int:
        """The first byte behind it."""
        *_, (offset, dtype, shape) = self.columns()
        return offset + _paged(int(np.prod(shape)) * np.dtype(dtype).itemsize)


class Region:
    """A part of the file, mapped twice: as this process changes it for itself, and as all see it.

    Args:
        file: the descriptor.
        start: page-aligned.
        end: the first byte behind it.
    """

    def __init__(self, file: int, start: int, end: int) -> None:
        self._start = start
        self._own = mmap.mmap(
            file, end - start, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE, offset=start
        )
        self._all = mmap.mmap(file, end - start, offset=start)

    def columns(self, place: Place) -> Columns:
        """A block's, to be changed by this process without effect on others."""
        keys, *segments, inverse = (self._array(self._own, *column) for column in place.columns())
        start, length = place.offset - self._start, place.end - place.offset

        def discard() -> None:
            self._own.madvise(mmap.MADV_DONTNEED, start, length)

        return Columns(keys, segments, inverse, discard)

    def forget(self, place: Place, subject_keys: Keys) -> int:
        """Overwrite the rows of some subjects by zeros, for all processes that have not written them for themselves.

        Their keys stay: by these a process that follows later finds the rows that it has to remove.

        Returns: of how many.
        """
        keys, *numbers = (self._array(self._all, *column) for column in place.columns())
        used = keys[: place.size]
        at = np.flatnonzero(used == subject_keys[0] if len(subject_keys) == 1 else np.isin(used, subject_keys))
        for column in numbers if len(at) else ():
            column[at] = 0
        return len(at)

    def _array(self, mapped: mmap.mmap, offset: int, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        count = int(np.prod(shape))
        return np.frombuffer(mapped, dtype, count, offset - self._start).reshape(shape)


class SharedFile:
    """The file and its locks, which the kernel takes back from a process that is killed.

    Whoever fills galleries, publishes or maps them holds `FILLING`; whoever has rows mapped holds `USING` with others.

    Args:
        rows: descriptor of a file in memory.
        locks: of another one, which nobody ever closes: that would give locks back.
    """

    def __init__(self, rows: int, locks: int) -> None:
        self.rows = rows
        self._locks = locks
        self._mutex = Lock()  # among threads, which the file's does not keep apart

    def begin_filling(self, longest_wait_s: float = LONGEST_WAIT_S) -> bool:
        """Wait until nobody else fills galleries. Returns: whether that is so, and end_filling() is to be called."""
        if not self._mutex.acquire(timeout=longest_wait_s):
            return False
        is_mine = False
        try:
            ends_at = time.monotonic() + longest_wait_s
            is_mine = self._locked(FILLING)
            if not is_mine:
                LOGGER.info("another process fills galleries, and is waited for")
            while not is_mine and time.monotonic() < ends_at:
                time.sleep(PAUSE_S)
                is_mine = self._locked(FILLING)
        finally:
            if not is_mine:
                self._mutex.release()
        return is_mine

    def end_filling(self) -> None:
        """Let others. To be called by whom begin_filling() told so, once."""
        self._unlock(FILLING)
        self._mutex.release()

    def wipe_when_idle(self, is_wanted: Callable[[], bool]) -> None:
        """Remove all rows unless galleries are being filled, or used.

        Args: is_wanted: asked when nobody fills them.
        """
        if not self._mutex.acquire(blocking=False):
            return
        try:
            if self._locked(FILLING):
                try:
                    if is_wanted():
                        self.wiped_when_unused()
                finally:
                    self._unlock(FILLING)
        finally:
            self._mutex.release()

    def use(self) -> None:
        """Have the rows stay: this process maps them."""
        import fcntl

        fcntl.lockf(self._locks, fcntl.LOCK_SH, 1, USING)

    def leave(self) -> None:
        """Rows that this process maps may be removed."""
        self._unlock(USING)

    def wiped_when_unused(self) -> bool:
        """Remove all rows unless another process uses them. Returns: whether none does."""
        is_unused = self._locked(USING)
        if is_unused:
            self._wipe()
        self._unlock(USING)
        return is_unused

    def directory(self) -> Directory | None:
        """What is published; None where nothing is, or not all of it."""
        header = os.pread(self.rows, HEADER.size, 0)
        offset, length, checksum = HEADER.unpack(header) if len(header) == HEADER.size else (0, 0, 0)
        text = os.pread(self.rows, length, offset) if length else b""
        if not length or len(text) != length or zlib.crc32(text) != checksum:
            return None
        found: Directory = json.loads(text)
        return found

    def extend(self, places: Sequence[Place]) -> tuple[int, int, list[Place]]:
        """Room for blocks behind all there is. Returns: its start and end, and the blocks with their offsets in it."""
        start = offset = max(mmap.PAGESIZE, _paged(os.fstat(self.rows).st_size))
        placed = []
        for place in places:
            placed.append(Place(offset, place.capacity, place.full_dim, place.size))
            offset = placed[-1].end
        end = max(offset, start + mmap.PAGESIZE)
        os.ftruncate(self.rows, end)
        return start, end, placed

    def write(self, place: Place, columns: Columns) -> None:
        """Write the rows in use of a block.

        Raises: OSError: there is no memory.
        """
        own: list[npt.NDArray[Any]] = [columns.keys, *columns.segments, columns.inverse]
        for (offset, _, _), column in zip(place.columns(), own, strict=True):
            used = column[: place.size]
            _write_all(self.rows, used.reshape(-1).view(np.uint8).data, offset)

    def publish(self, directory: Directory) -> None:
        """Say what there is; from then on others take it."""
        text = json.dumps(directory).encode()
        offset = os.fstat(self.rows).st_size
        _write_all(self.rows, memoryview(text), offset)
        os.pwrite(self.rows, CHANGED.pack(0), CHANGED_AT)
        os.pwrite(self.rows, HEADER.pack(offset, len(text), zlib.crc32(text)), 0)

    @property
    def changed(self) -> int:
        """Rows that have been changed since they were published, nearly."""
        found = os.pread(self.rows, CHANGED.size, CHANGED_AT)
        return int(CHANGED.unpack(found)[0]) if len(found) == CHANGED.size else 0

    def note_changed(self, rows: int) -> None:
        """Tell how many this process has changed."""
        if rows > self.changed:
            os.pwrite(self.rows, CHANGED.pack(rows), CHANGED_AT)

    def _locked(self, byte: int) -> bool:
        import fcntl  # there is none on Windows, where there is one process

        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):  # either says so (POSIX)
            return False
        return True

    def _unlock(self, byte: int) -> None:
        import fcntl

        fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, byte)

    def _wipe(self) -> None:
        """Give the memory back; the file keeps its length, as somebody may have it mapped still."""
        length = os.fstat(self.rows).st_size
        if not length:
            return
        os.pwrite(self.rows, bytes(HEADER.size), 0)
        mapped = mmap.mmap(self.rows, length)
        try:
            mapped.madvise(mmap.MADV_REMOVE)
        except OSError:  # a system that cannot
            for offset in range(0, length, ZEROS):
                os.pwrite(self.rows, bytes(min(ZEROS, length - offset)), offset)
        finally:
            mapped.close()


def _paged(length: int) -> int:
    return -(-length // mmap.PAGESIZE) * mmap.PAGESIZE


def _write_all(file: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written
