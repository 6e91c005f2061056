"""Exact search on a GPU: every call to it from one thread, and a row is deleted by building its shard again."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, ParamSpec, Protocol, TypeVar

import faiss
import numpy as np
import numpy.typing as npt

from matchka.gallery.faiss_cpu.block import Block
from matchka.gallery.faiss_cpu.columns import Keys
from matchka.gallery.faiss_cpu.policy import Method
from matchka.gallery.gallery import SearchHit, SubjectKeys
from matchka.runtime.cuda import driver_problem, is_out_of_memory
from matchka.vectors import FloatArray, truncate_and_normalise, truncate_and_normalise_or_zero

LOGGER: Final = logging.getLogger("matchka.gallery")
FAISS_CUDA: Final = 12  # that faiss-gpu's wheels are built for
FAISS_MOST_FOUND: Final = 2048  # rows of a query; FAISS refuses more on a GPU
MOST_TOGETHER: Final = 256  # searches; their products with a shard's rows take 64 MiB
SHARD_ROWS: Final = 65_536  # 64 MiB at 256 components: what a deletion sends to the GPU again

GivenT = ParamSpec("GivenT")
DoneT = TypeVar("DoneT")


class FlatIndex(Protocol):
    """The part of FAISS' flat index that is used. Neither remove_ids nor a selector is: see decision 051."""

    def add(self, rows: FloatArray, /) -> None:
        """Append rows, (n, dim)."""
        ...

    def reset(self) -> None:
        """Drop all rows."""
        ...

    def search(self, queries: FloatArray, count: int, /) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        """Inner products and rows, (queries, count), best first; row -1 where there are fewer."""
        ...


class GpuDevice:
    """One GPU and its owner thread, shared by all galleries. FAISS' GPU resources crash under concurrent threads.

    Args:
        make_index: makes an empty index of a dim; called, as all its indexes are, on the owner thread only.
        method: what searches are counted as.
        shard_rows: most rows of one index.
        most_found: rows that an index finds for a query; None: any number. More are found on the CPU.
    """

    def __init__(
        self,
        make_index: Callable[[int], FlatIndex],
        method: Method = "gpu",
        shard_rows: int = SHARD_ROWS,
        most_found: int | None = None,
    ) -> None:
        self.make_index = make_index
        self.method = method
        self.shard_rows = shard_rows
        self.most_found = shard_rows if most_found is None else most_found
        self.owner = ThreadPoolExecutor(1, thread_name_prefix="gpu")

    def call(self, work: Callable[GivenT, DoneT], *given: GivenT.args, **named: GivenT.kwargs) -> DoneT:
        """Call a function on the owner thread.

        Raises: MemoryError: the device has none left.
        """
        try:
            return self.owner.submit(work, *given, **named).result()
        except Exception as error:
            if is_out_of_memory(error):
                raise _no_memory(error) from error
            raise


def open_gpu(half_precision: bool = False) -> GpuDevice | None:
    """The first GPU, or None, with a line in the log, where FAISS finds none.

    Args: half_precision: keep vectors on the GPU as float16: half the memory, similarities within about 1e-3.
    """
    missing = _missing_for_gpu()
    if missing is not None:
        LOGGER.warning("FAISS finds no GPU (%s); galleries are searched on the CPU.", missing)
        return None
    made: list[faiss.StandardGpuResources] = []

    def make_index(dim: int) -> FlatIndex:
        if not made:
            made.append(faiss.StandardGpuResources())  # here, so that the owner thread makes it
        config = faiss.GpuIndexFlatConfig()
        config.useFloat16 = half_precision
        index: FlatIndex = faiss.GpuIndexFlatIP(made[0], dim, config)
        return index

    LOGGER.info("galleries are searched on the GPU, vectors in %s", "float16" if half_precision else "float32")
    return GpuDevice(make_index, most_found=FAISS_MOST_FOUND)


def _missing_for_gpu() -> str | None:
    """What FAISS lacks for a GPU; None where it sees one."""
    if not hasattr(faiss, "StandardGpuResources"):
        return "this is faiss-cpu: install matchka[gpu], or set MATCHKA_GALLERY=onnx"
    # asked first, as FAISS ends the process where the driver answers it with an error
    return driver_problem(FAISS_CUDA) or (None if faiss.get_num_gpus() else "none is visible")


def _no_memory(error: Exception) -> MemoryError:
    return MemoryError(
        f"the device has no memory left for galleries ({type(error).__name__});"
        " MATCHKA_GPU_HALF_PRECISION=true halves what they take"
    )


@dataclass(frozen=True)
class _Waiting:
    """A search that waits for the owner thread. Attributes: query: float32, (1, dim), of unit length."""

    query: FloatArray
    top_k: int
    answer: "Future[list[SearchHit]]" = field(default_factory=Future)


@dataclass
class _Shard:
    """Rows in the machine's memory, and what the GPU holds of them at each dim searched so far.

    An index that is being changed is none of the shard's until it holds what the block holds: where the GPU's memory
    ends in between, the next search sends all rows to a new one.
    """

    block: Block
    indexes: dict[int, FlatIndex] = field(default_factory=dict)

    def send(self, rows: FloatArray) -> None:
        """Append to each index what was appended to the block."""
        held, self.indexes = self.indexes, {}
        for dim, index in held.items():
            index.add(truncate_and_normalise_or_zero(rows, dim))
            self.indexes[dim] = index

    def send_again(self) -> None:
        """Drop all rows of each index, and send the block's."""
        held, self.indexes = self.indexes, {}
        for dim, index in held.items():
            index.reset()
            index.add(truncate_and_normalise_or_zero(self.block.rows(), dim))
            self.indexes[dim] = index


class GpuGallery:
    """Gallery with exact cosine search on a GPU.

    A flat index on a GPU has no deletion, and by its source ignores a selector without a word. So every shard that a
    removal or replacement touches is dropped from the GPU and sent again before the call returns.

    Searches that wait while the GPU is busy are made together: it reads the rows once for all of them.

    Args:
        full_dim: components of a reference.
        device: the GPU.
    """

    def __init__(self, full_dim: int, device: GpuDevice) -> None:
        self._full_dim = full_dim
        self._device = device
        self._shards: list[_Shard] = []
        self._searches = 0
        self._waiting: dict[int, deque[_Waiting]] = {}  # by dim

    def __len__(self) -> int:
        return sum(len(shard.block) for shard in list(self._shards))

    @property
    def memory_bytes(self) -> int:
        """What its subjects take; see Gallery.memory_bytes."""
        return sum(shard.block.memory_bytes for shard in list(self._shards))

    def searches(self) -> dict[Method, int]:
        """Searches made so far, by method."""
        return {self._device.method: self._searches}

    def count_of(self, subject_keys: SubjectKeys) -> int:
        """How many of some subjects are here."""
        wanted = np.asarray(subject_keys, np.int64)
        return sum(shard.block.count_of(wanted) for shard in list(self._shards))

    def put(self, subject_keys: SubjectKeys, references: FloatArray) -> None:
        """Add or replace references, (subjects, full_dim); every shard that is touched is rebuilt on the GPU."""
        rows = truncate_and_normalise_or_zero(references, self._full_dim)
        self._device.call(self._put, np.asarray(subject_keys, np.int64), rows)

    def remove(self, subject_key: int) -> None:
        """Remove a subject, and rebuild its shard before returning."""
        self._device.call(self._remove, subject_key)

    def search(self, probe: FloatArray, dim: int, top_k: int) -> list[SearchHit]:
        """The most similar subjects, most similar first; `probe` is float32, (full_dim,), not zero."""
        waiting = _Waiting(truncate_and_normalise(probe[None, :], dim), top_k)
        self._waiting.setdefault(dim, deque()).append(waiting)  # atomic: threads that meet here share it
        self._device.owner.submit(self._search_waiting, dim)
        return waiting.answer.result()

    def _put(self, keys: Keys, rows: FloatArray) -> None:
        is_new = np.ones(len(keys), bool)
        order = np.argsort(keys)
        for shard in self._shards:
            known = np.flatnonzero(np.isin(shard.block.keys, keys))
            if len(known):
                places = order[np.searchsorted(keys, shard.block.keys[known], sorter=order)]
                is_new[places] = False
                shard.block.replace(known, rows[places])
                shard.send_again()
        places = np.flatnonzero(is_new)
        while len(places):
            shard = self._shard_with_room()
            part, places = places[: shard.block.free], places[shard.block.free :]
            shard.block.append(keys[part], rows[part])
            shard.send(rows[part])

    def _remove(self, key: int) -> None:
        for shard in self._shards:
            at = np.flatnonzero(shard.block.keys == key)
            if len(at):
                shard.block.remove(int(at[0]))
                try:
                    shard.send_again()
                finally:
                    if not len(shard.block):
                        self._shards.remove(shard)
                return

    def _search_waiting(self, dim: int) -> None:
        """Answer those that wait; none where an earlier call has answered this one's, too."""
        queue = self._waiting[dim]
        together = [queue.popleft() for _ in range(min(len(queue), MOST_TOGETHER))]
        # one that asks for more than the device finds is searched for on the CPU, and keeps nobody else there
        many = [one for one in together if one.top_k > self._device.most_found]
        few = [one for one in together if one.top_k <= self._device.most_found]
        for part in (few, *([one] for one in many)):
            if part:
                self._answer(part)

    def _answer(self, together: Sequence[_Waiting]) -> None:
        try:
            queries = np.concatenate([one.query for one in together])
            found = self._search(queries, max(one.top_k for one in together))
        except Exception as error:  # handed to everybody who waits
            if is_out_of_memory(error) and len(together) > 1:
                half = len(together) // 2
                for part in (together[:half], together[half:]):
                    self._answer(part)
                return
            for one in together:
                one.answer.set_exception(_no_memory(error) if is_out_of_memory(error) else error)
            return
        self._searches += len(together)
        for one, hits in zip(together, found, strict=True):
            one.answer.set_result(hits[: one.top_k])

    def _search(self, queries: FloatArray, top_k: int) -> list[list[SearchHit]]:
        similarities, keys = [np.empty((len(queries), 0), np.float32)], [np.empty((len(queries), 0), np.int64)]
        for shard in self._shards:
            best, rows = self._best_of(shard, queries, min(top_k, len(shard.block)))
            similarities.append(best)
            keys.append(shard.block.keys[rows])
        every, every_key = np.concatenate(similarities, axis=1), np.concatenate(keys, axis=1)
        order = np.lexsort((every_key, -every), axis=1)[:, :top_k]
        best = np.clip(np.take_along_axis(every, order, axis=1), -1.0, 1.0)
        found = np.take_along_axis(every_key, order, axis=1)
        return [
            [SearchHit(key, similarity) for key, similarity in zip(*row, strict=True)]
            for row in zip(found.tolist(), best.tolist(), strict=True)
        ]

    def _best_of(self, shard: _Shard, queries: FloatArray, count: int) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        if count <= self._device.most_found:
            return self._index_at(shard, queries.shape[1]).search(queries, count)
        products = queries @ truncate_and_normalise_or_zero(shard.block.rows(), queries.shape[1]).T
        rows: npt.NDArray[np.int64] = np.argpartition(-products, count - 1, axis=1)[:, :count]
        return np.take_along_axis(products, rows, axis=1), rows

    def _index_at(self, shard: _Shard, dim: int) -> FlatIndex:
        if dim not in shard.indexes:
            index = self._device.make_index(dim)
            index.add(truncate_and_normalise_or_zero(shard.block.rows(), dim))
            shard.indexes[dim] = index
        return shard.indexes[dim]

    def _shard_with_room(self) -> _Shard:
        for shard in self._shards:
            if shard.block.free:
                return shard
        self._shards.append(_Shard(Block(self._full_dim, 0, self._device.shard_rows)))
        return self._shards[-1]
