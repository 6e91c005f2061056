"""Exact searches of one large matrix, by FAISS and by the graphs that the service ships for ONNX Runtime."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np
import numpy.typing as npt
import onnxruntime

from loadtests.gpu.sessions import CPU, CUDA, device_word, open_session

BASE_ROWS = 250_000  # drawn; further rows are these with their components moved round, so that no two are alike
PART_ROWS = 1024  # as the search graph has it

Vectors = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]


class RepeatedRowsError(ValueError):
    """More rows are asked for than are drawn without repeating; more components, in `--dims`, allow more."""


class Searcher(Protocol):
    """Rows on a device, and the best of them for some queries."""

    def add(self, rows: Vectors) -> None:
        """Append rows, (n, dim), of unit length."""
        ...

    def search(self, queries: Vectors, count: int) -> Places:
        """The rows of the largest inner products, (queries, count), best first."""
        ...


class Drawn:
    """Unit rows, as many as wanted, of which few are in memory.

    Args:
        subjects: how many.
        dim: components that are kept, the first of full_dim.
        full_dim: components that are drawn.
        seed: of the generator.

    Raises: RepeatedRowsError: there are more rows than pairwise different ones of so many components.
    """

    def __init__(self, subjects: int, dim: int, full_dim: int, seed: int = 0) -> None:
        self.subjects, self.dim = subjects, dim
        generator = np.random.default_rng(seed)
        self._base = generator.standard_normal((min(BASE_ROWS, subjects), full_dim), np.float32)
        self.blocks = -(-subjects // len(self._base))
        if self.blocks > full_dim:
            at_most = len(self._base) * full_dim
            raise RepeatedRowsError(f"{subjects:,} rows of {full_dim} components would repeat; {at_most:,} do not")

    def block(self, number: int) -> Vectors:
        """The rows of a block."""
        return self._moved(number, self._base[: self._rows_of(number)])

    def probes(self, count: int, seed: int) -> tuple[Vectors, Places]:
        """Some rows with noise beside them, and which rows they are: each is the most similar to its probe."""
        generator = np.random.default_rng(seed)
        number = int(generator.integers(self.blocks))
        places = generator.integers(self._rows_of(number), size=count)
        noise = generator.standard_normal((count, self.dim), np.float32) * np.float32(0.25 / np.sqrt(self.dim))
        found: Vectors = self._moved(number, self._base[places]) + noise
        return found / np.linalg.norm(found, axis=1, keepdims=True), number * len(self._base) + places

    def _rows_of(self, number: int) -> int:
        return min(len(self._base), self.subjects - number * len(self._base))

    def _moved(self, number: int, rows: Vectors) -> Vectors:
        kept = np.roll(rows, number, axis=1)[:, : self.dim]
        unit: Vectors = kept / np.linalg.norm(kept, axis=1, keepdims=True)
        return unit


class FaissSearcher:
    """FAISS' flat index, as one piece or in shards as the service has them.

    Args: shard_rows: of a shard; None: one piece.
    """

    def __init__(self, is_cuda: bool, is_half: bool, dim: int, shard_rows: int | None = None) -> None:
        self._is_cuda, self._is_half, self._dim, self._shard_rows = is_cuda, is_half, dim, shard_rows
        self._resources = faiss.StandardGpuResources() if is_cuda else None
        self._shards: list[Any] = [self._made()]

    def add(self, rows: Vectors) -> None:
        """See Searcher."""
        start = 0
        while start < len(rows):
            room = len(rows) if self._shard_rows is None else self._shard_rows - self._shards[-1].ntotal
            if room:
                self._shards[-1].add(np.ascontiguousarray(rows[start : start + room]))
                start += room
            else:
                self._shards.append(self._made())

    def search(self, queries: Vectors, count: int) -> Places:
        """See Searcher."""
        if self._shard_rows is None:
            places: Places = self._shards[0].search(queries, count)[1]
            return places
        found = [shard.search(queries, min(count, shard.ntotal)) for shard in self._shards]
        starts = [number * self._shard_rows for number in range(len(found))]
        every = np.concatenate([rows + start for (_, rows), start in zip(found, starts, strict=True)], axis=1)
        order = np.argsort(-np.concatenate([best for best, _ in found], axis=1), axis=1)[:, :count]
        merged: Places = np.take_along_axis(every, order, axis=1)
        return merged

    def _made(self) -> Any:
        if self._is_cuda:
            config = faiss.GpuIndexFlatConfig()
            config.useFloat16 = self._is_half
            return faiss.GpuIndexFlatIP(self._resources, self._dim, config)
        if self._is_half:
            kind = faiss.ScalarQuantizer.QT_fp16
            return faiss.IndexScalarQuantizer(self._dim, kind, faiss.METRIC_INNER_PRODUCT)
        return faiss.IndexFlatIP(self._dim)


class OnnxSearcher:
    """The service's search graph over shards of some rows."""

    def __init__(self, is_cuda: bool, is_half: bool, dim: int, shard_rows: int) -> None:
        self._device = device_word(is_cuda)
        self._dtype = np.dtype(np.float16 if is_half else np.float32)
        options = {"use_tf32": "0"}
        self._session = open_session(graph_file(self._dtype.name), CUDA if is_cuda else CPU, options)
        self._dim, self._shard_rows = dim, shard_rows
        self._pending = np.empty((0, dim), self._dtype)
        self._shards: list[Any] = []

    def add(self, rows: Vectors) -> None:
        """See Searcher. Rows are sent by whole shards; what is left is sent before a search."""
        self._pending = np.concatenate([self._pending, rows.astype(self._dtype)])
        while len(self._pending) >= self._shard_rows:
            self._send(self._shard_rows)

    def search(self, queries: Vectors, count: int) -> Places:
        """See Searcher."""
        if len(self._pending):
            self._send(len(self._pending))
        best, places, start = [], [], 0
        for shard in self._shards:
            similarities, found = self._best(shard, queries, count)
            best.append(similarities)
            places.append(found + start)
            start += shard.shape()[0]
        merged = np.argsort(-np.concatenate(best, axis=1), axis=1)[:, :count]
        answer: Places = np.take_along_axis(np.concatenate(places, axis=1), merged, axis=1)
        return answer

    def _best(self, shard: Any, queries: Vectors, count: int) -> tuple[Vectors, Places]:
        rows = shard.shape()[0]
        taken = min(count, rows)
        of_part = min(taken, PART_ROWS)
        given = {
            "queries": queries.astype(self._dtype),
            "pads": np.array([0, 0, 0, -rows % PART_ROWS], np.int64),
            "k_part": np.array([of_part], np.int64),
            "k": np.array([taken], np.int64),
        }
        binding = self._session.io_binding()
        binding.bind_ortvalue_input("rows", shard)
        for name, array in given.items():
            binding.bind_cpu_input(name, array)
        for name in ("similarities", "places", "within"):
            binding.bind_output(name)
        self._session.run_with_iobinding(binding)
        similarities, places, within = binding.copy_outputs_to_cpu()
        return similarities, places // of_part * PART_ROWS + within

    def _send(self, rows: int) -> None:
        piece, self._pending = self._pending[:rows].copy(), self._pending[rows:].copy()
        self._shards.append(onnxruntime.OrtValue.ortvalue_from_numpy(piece, self._device, 0))


def graph_file(kind: str) -> Path:
    """The search graph beside the service's code, which is not imported."""
    found = find_spec("matchka")
    if found is None or found.origin is None:
        raise FileNotFoundError("the package matchka is not installed")
    return Path(found.origin).parent / "gallery" / "onnx" / f"search.{kind}.onnx"
