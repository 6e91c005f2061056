"""Search on CPU: exact over all references, or in two stages: a shortlist of each block, compared exactly."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from threading import Lock
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from matchka.gallery.faiss_cpu.block import BLOCK_ROWS, FIRST_ROWS, Block, Query, Scratch
from matchka.gallery.faiss_cpu.columns import Columns, Keys
from matchka.gallery.faiss_cpu.policy import PREFIX_DIM, Method, choose_method, shortlist_of_each_block, threads_for
from matchka.gallery.gallery import SearchHit, SubjectKeys
from matchka.vectors import FloatArray, truncate_and_normalise, truncate_and_normalise_or_zero

ROWS_AT_ONCE: Final = 1_024  # rows written under one lock: they and what is made of them stay in the processor's cache


class SharedRows(Protocol):
    """Rows that were the same for several processes when these began to change them."""

    def forget(self, subject_key: int) -> None:
        """Overwrite a subject's, at once."""
        ...

    def forget_later(self, subject_keys: Keys) -> None:
        """Overwrite those of some subjects when all processes will have written others in their place."""
        ...


Found: TypeAlias = list[tuple[float, int, Block]]


class CpuGallery:
    """Gallery with cosine search over blocks of references.

    A subject stays in one block for as long as it is held, and every block is read as a whole between two changes: a
    search that runs beside changes sees each subject once, and none is lost because another was removed.

    Args:
        full_dim: components of a reference.
        executor: runs parts of a search over a large gallery.
        threads: parts of such a search.
        choose: the policy.
        prefix_dim: components by which the first stage of two makes its shortlist.
        block_rows: size of a block.

    Attributes: shared: is told of what is removed and put; none by default.
    """

    def __init__(
        self,
        full_dim: int,
        executor: Executor | None = None,
        threads: int = 1,
        choose: Callable[[int, int, int], Method] = choose_method,
        prefix_dim: int = PREFIX_DIM,
        block_rows: int = BLOCK_ROWS,
    ) -> None:
        self._full_dim = full_dim
        self._executor = executor
        self._threads = threads
        self._choose = choose
        self._prefix_dim = min(prefix_dim, full_dim)
        self._block_rows = block_rows
        self._write_lock = Lock()
        self.shared: SharedRows | None = None
        self._blocks: tuple[Block, ...] = ()  # replaced, never changed, so that a reader keeps the one it took
        self._size = 0
        self._highest_key = -1
        self._removals = 0
        self._count_lock = Lock()
        self._searches: dict[Method, int] = {"flat": 0, "two_stage": 0}

    def __len__(self) -> int:
        return self._size

    @property
    def memory_bytes(self) -> int:
        """What its subjects take; see Gallery.memory_bytes."""
        return sum(block.memory_bytes for block in self._blocks)

    def searches(self) -> dict[Method, int]:
        """Searches made so far, by method."""
        return dict(self._searches)

    def count_of(self, subject_keys: SubjectKeys) -> int:
        """How many of some subjects are here."""
        wanted = np.asarray(subject_keys, np.int64)
        return sum(block.count_of(wanted) for block in self._blocks)

    def put(self, subject_keys: SubjectKeys, references: FloatArray) -> None:
        """Add or replace references, (subjects, full_dim), in parts of ROWS_AT_ONCE rows."""
        keys = np.asarray(subject_keys, np.int64)
        if not len(keys):
            return
        with self._write_lock:
            is_new = np.ones(len(keys), bool)
            if int(keys.min()) <= self._highest_key:
                self._replace_known(keys, references, is_new)
            if is_new.all():  # as at a start: nothing is copied
                self._append(keys, references)
            else:
                self._append(keys[is_new], references[is_new])
            if self.shared is not None:
                self.shared.forget_later(keys)
            self._highest_key = max(self._highest_key, int(keys.max()))
            self._size = sum(map(len, self._blocks))

    def remove(self, subject_key: int) -> None:
        """Remove a subject; no search that begins after this shows it."""
        with self._write_lock:
            self._remove(subject_key)
            if self.shared is not None:
                self.shared.forget(subject_key)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Its references."""
        return self._blocks

    def share(self, shared: SharedRows, sizes: Sequence[int], columns: Iterable[Columns]) -> None:
        """Have its blocks keep their rows in arrays that others have, too; one that has none yet takes those rows.

        Args:
            shared: told of what is removed and replaced from now on.
            sizes: rows in each block.
            columns: of each block, asked for when those before have their place.
        """
        with self._write_lock:
            known = iter(self._blocks)
            blocks = []
            for size, arrays in zip(sizes, columns, strict=True):
                block = next(known, None)
                if block is None:
                    block = Block(self._full_dim, self._prefix_dim, self._block_rows, len(arrays.keys))
                block.adopt(arrays, size)
                blocks.append(block)
                self._highest_key = max([self._highest_key, *block.keys.max(initial=-1, keepdims=True).tolist()])
            self._blocks = tuple(blocks)
            self._size = sum(sizes)
            self.shared = shared

    def _remove(self, subject_key: int) -> None:
        for block in self._blocks:
            at = np.flatnonzero(block.keys == subject_key)
            if len(at):
                # counted first: a search that ends without seeing the count has ended before the removal
                self._removals += 1
                block.remove(int(at[0]))
                if not len(block):
                    self._blocks = tuple(other for other in self._blocks if other is not block)
                self._size -= 1
                return

    def search(self, probe: FloatArray, dim: int, top_k: int) -> list[SearchHit]:
        """The most similar subjects, most similar first; `probe` is float32, (full_dim,), not zero."""
        vector = np.zeros(self._full_dim, np.float32)
        vector[:dim] = truncate_and_normalise(probe[None, :], dim)[0]
        removals, blocks = self._removals, self._blocks
        method = self._choose(self._size, dim, self._prefix_dim)
        with self._count_lock:
            self._searches[method] += 1
        shortlist = shortlist_of_each_block(top_k, len(blocks)) if method == "two_stage" else None
        threads = threads_for(method, self._size, dim, self._prefix_dim, self._threads)
        found = self._scan(blocks, Query(vector, dim, top_k, shortlist), threads)
        if self._removals != removals:
            found = [candidate for candidate in found if candidate[2].holds(candidate[1])]
        return _best(found, top_k)

    def _scan(self, blocks: Sequence[Block], query: Query, threads: int) -> Found:
        if self._executor is None or threads == 1 or len(blocks) == 1:
            return _scan_in_turn(blocks, query)
        others = [self._executor.submit(_scan_in_turn, blocks[part::threads], query) for part in range(1, threads)]
        found = _scan_in_turn(blocks[::threads], query)
        for other in others:
            found += other.result()
        return found

    def _replace_known(self, keys: Keys, references: FloatArray, is_new: npt.NDArray[np.bool_]) -> None:
        order = np.argsort(keys)
        for block in self._blocks:
            known = np.flatnonzero(np.isin(block.keys, keys))
            places = order[np.searchsorted(keys, block.keys[known], sorter=order)]
            is_new[places] = False
            for start in range(0, len(known), ROWS_AT_ONCE):
                part = slice(start, start + ROWS_AT_ONCE)
                block.replace(known[part], self._unit(references[places[part]]))

    def _append(self, keys: Keys, references: FloatArray) -> None:
        start = 0
        while start < len(keys):
            block = self._block_with_room()
            part = slice(start, start + min(ROWS_AT_ONCE, block.free))
            block.append(keys[part], self._unit(references[part]))
            start = part.stop

    def _block_with_room(self) -> Block:
        for block in self._blocks:
            if block.free:
                return block
        first_rows = self._block_rows if self._blocks else FIRST_ROWS
        block = Block(self._full_dim, self._prefix_dim, self._block_rows, first_rows)
        self._blocks = (*self._blocks, block)
        return block

    def _unit(self, references: FloatArray) -> FloatArray:
        return truncate_and_normalise_or_zero(references, self._full_dim)


def _scan_in_turn(blocks: Sequence[Block], query: Query) -> Found:
    found: Found = []
    best = np.empty(0, np.float32)
    floor = -np.inf
    scratch = Scratch()
    for number, block in enumerate(blocks, 1):
        similarities, keys = block.search(query, floor, scratch)
        found += [(s, k, block) for s, k in zip(similarities.tolist(), keys.tolist(), strict=True)]
        if number == len(blocks) or not len(keys):
            continue
        best = np.concatenate([best, similarities])
        if len(best) >= query.count:
            best = np.partition(best, len(best) - query.count)[len(best) - query.count :]
            floor = float(best[0])
    return found


def _best(found: Found, top_k: int) -> list[SearchHit]:
    candidates: dict[int, SearchHit] = {}
    for similarity, key, _ in sorted(found, key=lambda one: (-one[0], one[1])):
        # a subject removed and put again meanwhile may have been seen in two blocks
        if key not in candidates:
            candidates[key] = SearchHit(key, min(1.0, max(-1.0, similarity)))
        if len(candidates) == top_k:
            break
    return list(candidates.values())
