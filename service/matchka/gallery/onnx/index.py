"""A flat index as two graphs of ONNX Runtime, with its rows in the memory of the device."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime

from matchka.gallery.faiss_gpu import SHARD_ROWS, GpuDevice
from matchka.runtime.cuda import driver_problem
from matchka.vectors import FloatArray

LOGGER: Final = logging.getLogger("matchka.gallery")
CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
CUDA_OPTIONS: Final = {"use_tf32": "0"}  # with it similarities are off by about 1e-3; ONNX Runtime's default has it
GRAPHS: Final = Path(__file__).parent  # written by matchka_export.graph.gallery
PART_ROWS: Final = 1024  # as the search graph has it
FIRST_ROWS: Final = 1024  # room of a new index; doubled as it fills, so that small galleries stay small

Rows: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float16]


@dataclass(frozen=True)
class IndexGraphs:
    """The two graphs of an index, opened once for all indexes of a device.

    Attributes:
        search, write: see matchka_export.graph.gallery.
        device: where rows lie, in ONNX Runtime's words.
        dtype: of the rows there.
        most_rows: that an index is made for.
    """

    search: onnxruntime.InferenceSession
    write: onnxruntime.InferenceSession
    device: str
    dtype: np.dtype[np.float32] | np.dtype[np.float16]
    most_rows: int


def open_onnx(use_gpu: bool, half_precision: bool = False, threads: int = 1, shard_rows: int = SHARD_ROWS) -> GpuDevice:
    """A device whose indexes are searched by ONNX Runtime: a GPU where it is wanted and there, otherwise the CPU.

    Args:
        use_gpu: whether it is wanted; the log says if there is none.
        half_precision: rows as float16: half the memory, similarities within about 1e-3.
        threads: of a search on the CPU.
        shard_rows: most rows of an index.
    """
    missing = _missing_for_gpu() if use_gpu else None
    wants_cuda = use_gpu and missing is None
    if wants_cuda:
        onnxruntime.preload_dlls()  # the CUDA libraries that pip installed, which no loader path names
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # rows come and go: a plan of memory would be kept for each number of them
    providers = [(CUDA, CUDA_OPTIONS), CPU] if wants_cuda else [CPU]
    kind = "float16" if half_precision else "float32"
    search, write = (
        onnxruntime.InferenceSession(GRAPHS / f"{name}.{kind}.onnx", options, providers=providers)
        for name in ("search", "write")
    )
    # ONNX Runtime falls back by itself, and silently, where a library is missing
    on_gpu = CUDA in search.get_providers()
    if use_gpu and not on_gpu:
        reason = missing or "CUDA did not start; what ONNX Runtime wrote says why"
        LOGGER.warning("ONNX Runtime has no GPU for galleries (%s); they are searched on the CPU.", reason)
    else:
        LOGGER.info("galleries are searched by ONNX Runtime on the %s, in %s", "GPU" if on_gpu else "CPU", kind)
    graphs = IndexGraphs(search, write, "cuda" if on_gpu else "cpu", np.dtype(kind), shard_rows)
    return GpuDevice(lambda dim: OnnxIndex(dim, graphs), "onnx", shard_rows)


def _missing_for_gpu() -> str | None:
    """What ONNX Runtime lacks for a GPU; None where nothing is known to."""
    if CUDA not in onnxruntime.get_available_providers():
        return "install onnxruntime-gpu"
    return driver_problem(int(onnxruntime.cuda_version.partition(".")[0]))


class OnnxIndex:
    """A FlatIndex (matchka.gallery.faiss_gpu) whose rows lie on the device and are overwritten in place.

    Args:
        dim: components of a row.
        graphs: what reads and writes them.
    """

    def __init__(self, dim: int, graphs: IndexGraphs) -> None:
        self._dim = dim
        self._graphs = graphs
        self._rows = self._room(min(FIRST_ROWS, graphs.most_rows))
        self._size = 0
        self._written = 0  # rows that are not zero, those that reset() dropped included

    @property
    def device(self) -> str:
        """Where its rows lie, in ONNX Runtime's words."""
        return self._graphs.device

    def add(self, rows: FloatArray, /) -> None:
        """Append rows, (n, dim); what reset() dropped is overwritten."""
        stop = self._size + len(rows)
        if stop > self._rows.shape()[0]:
            self._grow(stop)
        new = np.zeros((max(stop, self._written) - self._size, self._dim), self._graphs.dtype)
        new[: len(rows)] = rows
        self._write(self._size, new)
        self._size = self._written = stop

    def reset(self) -> None:
        """Drop all rows; add() has to follow for their numbers to leave the device."""
        self._size = 0

    def search(self, queries: FloatArray, count: int, /) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        """Inner products and rows, (queries, count), best first; row -1 where there are fewer."""
        similarities = np.full((len(queries), count), -np.inf, np.float32)
        rows = np.full((len(queries), count), -1, np.int64)
        found = min(count, self._size)
        if found:
            similarities[:, :found], rows[:, :found] = self._best(queries, found)
        return similarities, rows

    def _best(self, queries: FloatArray, count: int) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        of_part = min(count, PART_ROWS)
        binding = self._graphs.search.io_binding()
        # the rows in use alone: the graph sees no others
        binding.bind_input(
            "rows", self._graphs.device, 0, self._graphs.dtype, (self._size, self._dim), self._rows.data_ptr()
        )
        binding.bind_cpu_input("queries", np.ascontiguousarray(queries, self._graphs.dtype))
        binding.bind_cpu_input("pads", np.array([0, 0, 0, -self._size % PART_ROWS], np.int64))
        binding.bind_cpu_input("k_part", np.array([of_part], np.int64))
        binding.bind_cpu_input("k", np.array([count], np.int64))
        for name in ("similarities", "places", "within"):
            binding.bind_output(name)
        self._graphs.search.run_with_iobinding(binding)
        similarities, places, within = binding.copy_outputs_to_cpu()
        return similarities, places // of_part * PART_ROWS + within

    def _write(self, start: int, new: Rows) -> None:
        binding = self._graphs.write.io_binding()
        binding.bind_ortvalue_input("rows", self._rows)
        binding.bind_cpu_input("at", np.arange(start, start + len(new))[:, None])
        binding.bind_cpu_input("new", new)
        binding.bind_ortvalue_output("written", self._rows)
        self._graphs.write.run_with_iobinding(binding)

    def _grow(self, rows: int) -> None:
        held: Rows = self._rows.numpy()[: self._size].copy()  # on a CPU numpy() shows memory that goes with the value
        self._rows = self._room(min(max(rows, 2 * self._rows.shape()[0]), self._graphs.most_rows))
        self._write(0, held)

    def _room(self, rows: int) -> onnxruntime.OrtValue:
        # zeros, not whatever lay there before: rows are written into it
        zeros = np.zeros((rows, self._dim), self._graphs.dtype)
        return onnxruntime.OrtValue.ortvalue_from_numpy(zeros, self._graphs.device, 0)
