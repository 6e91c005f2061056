"""Exact search on a GPU: every call to it from one thread, and a row is deleted by building its shard again."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Protocol

import faiss
import numpy as np
import numpy.typing as npt

from matchka.gallery.faiss_cpu.block import Block, Keys
from matchka.gallery.faiss_cpu.policy import Method
from matchka.gallery.gallery import SearchHit, SubjectKeys
from matchka.vectors import FloatArray, truncate_and_normalise, truncate_and_normalise_or_zero

LOGGER: Final = logging.getLogger("matchka.gallery")
SHARD_ROWS: Final = 65_536  # 64 MiB at 256 components: what a deletion sends to the GPU again


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
    """

    def __init__(
        self, make_index: Callable[[int], FlatIndex], method: Method = "gpu", shard_rows: int = SHARD_ROWS
    ) -> None:
        self.make_index = make_index
        self.method = method
        self.shard_rows = shard_rows
        self.owner = ThreadPoolExecutor(1, thread_name_prefix="gpu")


def open_gpu(half_precision: bool = False) -> GpuDevice | None:
    """The first GPU, or None, with a line in the log, where FAISS finds none.

    Args: half_precision: keep vectors on the GPU as float16: half the memory, similarities within about 1e-3.
    """
    gpus = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
    if not gpus:
        LOGGER.warning(
            "FAISS finds no GPU (%s); galleries are searched on the CPU.",
            "none is visible"
            if hasattr(faiss, "StandardGpuResources")
            else "this is faiss-cpu: install matchka[gpu], or set MATCHKA_GALLERY=onnx",
        )
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
    return GpuDevice(make_index)


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

    Args:
        full_dim: components of a reference.
        device: the GPU.
    """

    def __init__(self, full_dim: int, device: GpuDevice) -> None:
        self._full_dim = full_dim
        self._device = device
        self._shards: list[_Shard] = []
        self._searches = 0

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
        self._device.owner.submit(self._put, np.asarray(subject_keys, np.int64), rows).result()

    def remove(self, subject_key: int) -> None:
        """Remove a subject, and rebuild its shard before returning."""
        self._device.owner.submit(self._remove, subject_key).result()

    def search(self, probe: FloatArray, dim: int, top_k: int) -> list[SearchHit]:
        """The most similar subjects, most similar first; `probe` is float32, (full_dim,), not zero."""
        query = truncate_and_normalise(probe[None, :], dim)
        return self._device.owner.submit(self._search, query, top_k).result()

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

    def _search(self, query: FloatArray, top_k: int) -> list[SearchHit]:
        self._searches += 1
        found: list[tuple[float, int]] = []
        for shard in self._shards:
            index = self._index_at(shard, query.shape[1])
            similarities, rows = index.search(query, min(top_k, len(shard.block)))
            keys = shard.block.keys[rows[0]]
            found += zip(similarities[0].tolist(), keys.tolist(), strict=True)
        found.sort(key=lambda one: (-one[0], one[1]))
        return [SearchHit(key, min(1.0, max(-1.0, similarity))) for similarity, key in found[:top_k]]

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
