"""Exact searches of large galleries beside the time that the device takes to read as many bytes: rows `search/*`."""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context

import faiss
import numpy as np

from loadtests.bench.rows import compared
from loadtests.gpu.driver import Device, open_device
from loadtests.gpu.options import Options
from loadtests.gpu.results import Result, Skipped
from loadtests.gpu.searchers import Drawn, FaissSearcher, OnnxSearcher, RepeatedRowsError, Searcher
from loadtests.gpu.sessions import NoCudaError, is_out_of_memory

TOP_K = 10
TARGET = "<= 1.3"
COPY_BYTES, LEAST_COPY_BYTES = 2**30, 2**24
WARM = 2
SPARE = 1.25  # what a search needs beside its rows, and allocators take in whole pieces
NOTE = (
    "reference: the time in which a copy within the device's memory, in the same turn, moves as many bytes (read and"
    " written) as the search has to read"
)


@dataclass(frozen=True)
class Gallery:
    """Rows that are searched. Attributes: engine: `faiss`, or `faiss-` or `onnx-` and the rows of its shards."""

    engine: str
    subjects: int
    dim: int
    is_half: bool

    @property
    def name(self) -> str:
        """Of its lines."""
        return f"search/{self.engine}/{'float16' if self.is_half else 'float32'}/{self.subjects}x{self.dim}"

    @property
    def bytes(self) -> int:
        """Of all rows."""
        return self.subjects * self.dim * (2 if self.is_half else 4)


def measure(options: Options) -> Iterator[Result]:
    """One line for each engine, precision, size, dim and number of queries together.

    Each gallery has a process of its own: ONNX Runtime keeps memory that it has once taken from the device.
    """
    engines = ["faiss", *(f"{library}-{rows}" for library in ("faiss", "onnx") for rows in options.shard_rows)]
    for subjects, dim, is_half, engine in product(options.subjects, options.dims, (False, True), engines):
        gallery = Gallery(engine, subjects, dim, is_half)
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            try:
                yield from process.submit(searched, gallery, options).result()
            except BrokenProcessPool as error:
                yield Skipped(gallery.name, f"its process died: {error}")


def searched(gallery: Gallery, options: Options) -> list[Result]:
    """The lines of one gallery."""
    device = open_device(options.is_cuda)
    needed, free = int(SPARE * gallery.bytes) + 2 * _copied_bytes(gallery), device.free_bytes()
    if needed > free:
        why = f"needs {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB of {device.name} are free"
        return [Skipped(gallery.name, why)]
    found: list[Result] = []
    try:
        drawn = Drawn(gallery.subjects, gallery.dim, max(options.dims))
        searcher = filled(gallery.engine, gallery.is_half, drawn, options)
        found.extend(_searches(gallery, device, searcher, drawn, options))
    except (NoCudaError, RepeatedRowsError) as error:
        found.append(Skipped(gallery.name, str(error)))
    except Exception as error:  # of two libraries, which have no class of their own for a lack of memory
        if not is_out_of_memory(error):
            raise
        found.append(Skipped(gallery.name, f"memory of the device was lacking: {str(error).splitlines()[0][:200]}"))
    return found


def filled(engine: str, is_half: bool, drawn: Drawn, options: Options) -> Searcher:
    """A searcher that holds all rows.

    Raises: NoCudaError: FAISS or ONNX Runtime does not see the GPU.
    """
    searcher: Searcher
    library, _, rows = engine.partition("-")
    if library == "faiss":
        if options.is_cuda and not (hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus()):
            raise NoCudaError("FAISS sees no GPU: this is faiss-cpu, or the driver is too old for CUDA 12")
        searcher = FaissSearcher(options.is_cuda, is_half, drawn.dim, int(rows) if rows else None)
    else:
        searcher = OnnxSearcher(options.is_cuda, is_half, drawn.dim, int(rows))
    for number in range(drawn.blocks):
        searcher.add(drawn.block(number))
    return searcher


def _searches(gallery: Gallery, device: Device, searcher: Searcher, drawn: Drawn, options: Options) -> Iterator[Result]:
    with device.room_for_copies(_copied_bytes(gallery)) as copy:
        for together in options.queries:
            ours, bound, right = [], [], 0
            for turn in range(-WARM, options.turns):
                probes, expected = drawn.probes(together, seed=100 + turn)
                bandwidth = copy.measure()
                begun = time.perf_counter()
                places = searcher.search(probes, min(TOP_K, gallery.subjects))
                took_ms = 1e3 * (time.perf_counter() - begun)
                if turn >= 0:
                    ours.append(took_ms)
                    bound.append(bandwidth.ms_for(gallery.bytes))
                    right += int(np.sum(places[:, 0] == expected))
            rate, speed = 1e3 * together / np.median(ours), gallery.bytes / np.median(bound) / 1e6
            what = (
                f"{gallery.name.removeprefix('search/')}, {together} together: {rate:,.0f} searches/s; reads"
                f" {gallery.bytes / 1e9:.3g} GB, a copy moves {speed:,.0f} GB/s;"
                f" {right} of {together * options.turns} found their own row"
            )
            target = TARGET if together == 1 else ""
            yield compared(f"{gallery.name}/q{together}", what, ours, bound, "ms", NOTE, target)


def _copied_bytes(gallery: Gallery) -> int:
    return min(COPY_BYTES, max(gallery.bytes, LEAST_COPY_BYTES))
