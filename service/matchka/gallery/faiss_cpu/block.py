"""A block of a gallery: up to 65,536 references in contiguous memory, scanned and changed under a lock of its own."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import faiss
import numpy as np
import numpy.typing as npt

from matchka.gallery.faiss_cpu.codes import PrefixCodes
from matchka.gallery.faiss_cpu.columns import Columns, Keys, cuts_of
from matchka.gallery.faiss_cpu.locks import SharedLock
from matchka.gallery.faiss_cpu.memory import fresh
from matchka.vectors import FloatArray, inverse_lengths, quantise, squared_lengths

BLOCK_ROWS: Final = 65_536  # a scan of 256 components takes 2.4 ms: the longest that a change waits for a reader
FIRST_ROWS: Final = 1_024  # room of a new gallery's block; doubled as it fills, so that small tenants stay small
PARTS: Final = 256  # of a block's rows; the best of each part bound the best of all
NO_KEY: Final = -1

Rows: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Query:
    """A probe at one dim.

    Attributes:
        vector: float32, (full_dim,); unit length in its first `dim` components, zero behind them.
        dim: components compared.
        count: candidates wanted of each block, >= 1.
        shortlist: rows of each block that are compared exactly; None compares all.
    """

    vector: FloatArray
    dim: int
    count: int
    shortlist: int | None


class Scratch:
    """Room for the products of one scan, block after block: fresh memory for each takes longer than what fills it."""

    def __init__(self) -> None:
        self._rooms = np.empty((2, 0), np.float32)

    def of(self, rows: int) -> tuple[FloatArray, FloatArray]:
        """Two arrays of so many numbers, of any value; those handed out before are given up."""
        if rows > self._rooms.shape[1]:
            self._rooms = np.empty((2, rows), np.float32)
        return self._rooms[0, :rows], self._rooms[1, :rows]


class Block:
    """References of unit length, stored as columns so that a search at a smaller dim reads no more than it compares.

    The columns are cut at 8, 16, 24, ... components; each piece is one array. The rows are dense: what is removed is
    overwritten by the last row. The lengths of the prefixes are kept for each dim that was ever searched.

    Args:
        full_dim: components of a reference.
        prefix_dim: components kept once more in one byte each, for shortlists; 0 keeps none.
        most_rows: its size when it is full.
        first_rows: rows that it has room for at first.
    """

    def __init__(
        self, full_dim: int, prefix_dim: int, most_rows: int = BLOCK_ROWS, first_rows: int = FIRST_ROWS
    ) -> None:
        self.lock = SharedLock()
        self._most_rows = most_rows
        self._cuts = cuts_of(full_dim)
        self._prefix_dim = prefix_dim
        self._size = 0
        self._keys: Keys = np.empty(0, np.int64)
        self._segments = [np.empty((0, stop - start), np.float32) for start, stop in self._cuts]
        self._pointers: list[Any] = []  # to the segments: FAISS' checks of an array take as long as a part of a scan
        self._inverse: dict[int, FloatArray] = {full_dim: np.empty(0, np.float32)}
        self._codes = PrefixCodes(prefix_dim, 0) if prefix_dim else None
        self._discard: Callable[[], None] | None = None  # of arrays that are not its own
        self._resize(min(first_rows, most_rows))

    def __len__(self) -> int:
        """Rows in use."""
        return self._size

    @property
    def memory_bytes(self) -> int:
        """Memory of the rows in use."""
        return sum(column[: self._size].nbytes for column in self._columns())

    @property
    def free(self) -> int:
        """Rows that it still takes."""
        return self._most_rows - self._size

    @property
    def keys(self) -> Keys:
        """The subject of each row; not to be changed."""
        return self._keys[: self._size]

    def append(self, keys: Keys, rows: FloatArray) -> None:
        """Add rows of unit length (or zero), (n, full_dim), n <= free."""
        with self.lock.exclusive():
            start, stop = self._size, self._size + len(keys)
            if stop > len(self._keys):
                self._resize(min(max(stop, 2 * len(self._keys)), self._most_rows))
            self._keys[start:stop] = keys
            self._write(slice(start, stop), rows)
            self._set_size(stop)

    def replace(self, at: Rows, rows: FloatArray) -> None:
        """Overwrite rows."""
        with self.lock.exclusive():
            self._write(at, rows)

    def remove(self, at: int) -> None:
        """Overwrite a row by the last one, and the last one's place by zeros: nothing of it stays in memory."""
        with self.lock.exclusive():
            last = self._size - 1
            for column in self._columns():
                column[at] = column[last]
                column[last] = 0
            self._keys[last] = NO_KEY
            self._set_size(last)

    @property
    def columns(self) -> Columns:
        """Its arrays, with the room there is."""
        return Columns(self._keys, self._segments, self._inverse[self._cuts[-1][1]], self._discard)

    def adopt(self, columns: Columns, size: int) -> None:
        """Have other arrays of the same room take the place of its own, which hold the same rows, or none yet."""
        with self.lock.exclusive():
            is_new = size != self._size
            self._forget(self._numbers())
            self._keys, self._segments = columns.keys, list(columns.segments)
            self._pointers = [faiss.swig_ptr(segment) for segment in self._segments]
            self._inverse = {self._cuts[-1][1]: columns.inverse}
            self._discard = columns.discard
            for start in range(0, size if is_new else 0, FIRST_ROWS):
                self._encode(slice(start, min(start + FIRST_ROWS, size)))
            self._set_size(size)

    def search(self, query: Query, floor: float = -np.inf, scratch: Scratch | None = None) -> tuple[FloatArray, Keys]:
        """The most similar rows in no order: similarities and keys, at most query.count.

        Args:
            query: the probe.
            floor: rows less similar than this may be left out.
            scratch: of the scan that goes from block to block; its own by default.
        """
        self._require_inverse(query.dim)
        with self.lock.shared():
            if query.shortlist is None or query.shortlist >= self._size or self._codes is None:
                similarities = self._all_similarities(query, scratch or Scratch())
                at = _largest(similarities, query.count, floor)
                return similarities[at], self._keys[at]
            shortlist = self._codes.search(query.vector[: self._prefix_dim], query.shortlist)
            similarities = self._similarities_at(shortlist, query, scratch or Scratch())
            best = _largest(similarities, query.count, floor)
            return similarities[best], self._keys[shortlist[best]]

    def holds(self, key: int) -> bool:
        """Whether a subject is in this block."""
        with self.lock.shared():
            return bool(np.any(self.keys == key))

    def count_of(self, keys: Keys) -> int:
        """How many of some subjects are in this block."""
        with self.lock.shared():
            return int(np.isin(self.keys, keys).sum())

    def rows(self) -> FloatArray:
        """A copy of all rows, (n, full_dim)."""
        return np.concatenate([segment[: self._size] for segment in self._segments], axis=1)

    def _all_similarities(self, query: Query, scratch: Scratch) -> FloatArray:
        similarities, products = scratch.of(self._size)
        for number, (start, stop) in enumerate(self._cuts_below(query.dim)):
            # one thread, whatever OpenMP and the BLAS library were told: the blocks are what runs in parallel
            faiss.fvec_inner_products_ny(  # type: ignore[attr-defined]  # its wrapper is generated
                faiss.swig_ptr(products if number else similarities),
                faiss.swig_ptr(query.vector[start:stop]),
                self._pointers[number],
                stop - start,
                self._size,
            )
            if number:
                similarities += products
        similarities *= self._inverse[query.dim][: self._size]
        return similarities

    def _similarities_at(self, at: Rows, query: Query, scratch: Scratch) -> FloatArray:
        similarities, products = scratch.of(len(at))
        for number, (start, stop) in enumerate(self._cuts_below(query.dim)):
            faiss.fvec_inner_products_by_idx(  # type: ignore[attr-defined]  # its wrapper is generated
                faiss.swig_ptr(products if number else similarities),
                faiss.swig_ptr(query.vector[start:stop]),
                self._pointers[number],
                faiss.swig_ptr(at),
                stop - start,
                1,
                len(at),
            )
            if number:
                similarities += products
        similarities *= self._inverse[query.dim][at]
        return similarities

    def _cuts_below(self, dim: int) -> list[tuple[int, int]]:
        return [cut for cut in self._cuts if cut[0] < dim]

    def _write(self, at: Rows | slice, rows: FloatArray) -> None:
        for (start, stop), segment in zip(self._cuts, self._segments, strict=True):
            segment[at] = rows[:, start:stop]
        for dim, inverse in self._inverse.items():
            # whole rows have unit length, or are zero and have no product
            inverse[at] = 1 if dim == rows.shape[1] else inverse_lengths(squared_lengths(rows[:, :dim]))
        if self._codes is not None:
            self._codes.codes[at] = quantise(rows[:, : self._prefix_dim])

    def _encode(self, at: slice) -> None:
        if self._codes is not None:
            below = [
                segment[at]
                for (start, _), segment in zip(self._cuts, self._segments, strict=True)
                if start < self._prefix_dim
            ]
            self._codes.codes[at] = quantise(np.concatenate(below, axis=1)[:, : self._prefix_dim])

    def _columns(self) -> list[npt.NDArray[Any]]:
        """Every array that has an entry for each row."""
        codes = [] if self._codes is None else [self._codes.codes]
        return [self._keys, *self._numbers(), *codes]

    def _numbers(self) -> list[FloatArray]:
        return [*self._segments, *self._inverse.values()]

    def _require_inverse(self, dim: int) -> None:
        if dim in self._inverse:
            return
        with self.lock.exclusive():
            squares = np.zeros(self._size)
            for (start, _), segment in zip(self._cuts, self._segments, strict=True):
                squares += squared_lengths(segment[: self._size, : max(0, dim - start)])
            inverse = np.zeros(len(self._keys), np.float32)
            inverse[: self._size] = inverse_lengths(squares)
            self._inverse[dim] = inverse

    def _set_size(self, size: int) -> None:
        self._size = size
        if self._codes is not None:
            self._codes.index.ntotal = size

    def _resize(self, rows: int) -> None:
        before = self._numbers()
        self._keys = _resized(self._keys, rows)
        self._segments = [_resized(segment, rows) for segment in self._segments]
        self._pointers = [faiss.swig_ptr(segment) for segment in self._segments]
        self._inverse = {dim: _resized(inverse, rows) for dim, inverse in self._inverse.items()}
        if self._codes is not None:
            codes = PrefixCodes(self._prefix_dim, rows)
            codes.codes[: self._size] = self._codes.codes[: self._size]
            codes.index.ntotal = self._size
            self._codes.codes[: self._size] = 0
            self._codes = codes
        self._forget(before)
        self._discard = None

    def _forget(self, columns: list[FloatArray]) -> None:
        """Leave nothing in arrays that are given up: their memory is somebody else's next."""
        if self._discard is not None:
            self._discard()
            return
        for column in columns:
            column[: self._size] = 0


def _largest(similarities: FloatArray, count: int, floor: float) -> Rows:
    # methods of arrays: NumPy's functions of the same names take as long again, which a small gallery shows
    least = _reached(similarities, count) if floor == -math.inf else floor
    at: Rows = (similarities >= least).nonzero()[0]
    if len(at) <= count:
        return at
    best: Rows = at[similarities[at].argpartition(len(at) - count)[len(at) - count :]]
    return best


def _reached(similarities: FloatArray, count: int) -> float:
    """What `count` of many rows reach, and few others do: sorting out all of them takes longer than comparing them."""
    if count > PARTS or len(similarities) < 2 * PARTS:
        return -math.inf
    best = similarities[: len(similarities) // PARTS * PARTS].reshape(-1, PARTS).max(axis=0)
    best.partition(PARTS - count)
    return float(best[PARTS - count])  # the best of `count` parts are so many rows


def _resized(column: npt.NDArray[Any], rows: int) -> npt.NDArray[Any]:
    # memory of empty() that nobody has written to is not resident
    resized = fresh((rows, *column.shape[1:]), column.dtype)
    resized[: len(column)] = column
    return resized
