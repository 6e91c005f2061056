"""FAISS and ONNX Runtime in one process, both on the device: what they found, and what was mapped."""

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import faiss
import numpy as np
import onnxruntime

from loadtests.bench.rows import alone
from loadtests.gpu.driver import Cpu, Device, open_device
from loadtests.gpu.options import Options
from loadtests.gpu.parts.search import filled
from loadtests.gpu.results import Result, Skipped
from loadtests.gpu.searchers import Drawn
from loadtests.gpu.sessions import NoCudaError

PACKAGES = ("onnxruntime-gpu", "onnxruntime", "faiss-gpu", "faiss-cpu")
CUDA_LIBRARY = re.compile(r"lib(?:cudart|cublas|cublasLt|cudnn|cufft|curand|nvrtc|cuda)\.so[.\d]*$")
SUBJECTS, DIM, PROBES = 20_000, 64, 16


def measure(options: Options) -> Iterator[Result]:
    """Search with one, with the other, with the first again; then what this process has mapped."""
    device = open_device(options.is_cuda)
    drawn = Drawn(SUBJECTS, DIM, DIM)
    probes, expected = drawn.probes(PROBES, seed=1)
    searchers = {}
    for engine in ("faiss", f"onnx-{options.shard_rows[0]}"):
        try:
            searchers[engine] = filled(engine, False, drawn, options)
        except NoCudaError as error:
            yield Skipped(f"runtimes/{engine}", str(error))
    note = f"{described(device)}; {', '.join(packages())}; mapped: {', '.join(mapped()) or 'no CUDA library'}"
    for turn in range(2):
        for engine, searcher in searchers.items():
            wrong = int(np.sum(searcher.search(probes, 5)[:, 0] != expected))
            what = f"{engine} in turn {turn + 1}, {len(searchers)} of 2 libraries in this process: probes not found"
            yield alone(f"runtimes/{engine}/{turn}", what, [wrong], "", note, "<= 0")


def described(device: Device) -> str:
    """The device and its driver."""
    if isinstance(device, Cpu):
        return f"on the CPU, providers {', '.join(onnxruntime.get_available_providers())}"
    return f"{device.name}, driver {device.driver_version}, which knows CUDA up to {device.cuda_version}"


def packages() -> list[str]:
    """Those that are installed, with their versions."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found or [f"faiss {faiss.__version__}", f"onnxruntime {onnxruntime.__version__}"]


def mapped() -> list[str]:
    """Names of the CUDA libraries in this process (Linux)."""
    paths = {
        line.split()[-1] for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines() if "/" in line
    }
    return sorted({Path(path).name for path in paths if CUDA_LIBRARY.search(path)})
