"""What a GPU's answers differ from the CPU's, for every graph of every default bundle: rows `parity/*`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from loadtests.bench.graphs.time_graphs import made
from loadtests.bench.rows import Row, alone
from loadtests.bench.serving.inputs import manifest
from loadtests.gpu.options import Options
from loadtests.gpu.results import Result, Skipped
from loadtests.gpu.sessions import CPU, CUDA, SERVED, NoCudaError, open_session

ROWS = 4
UNIT = "embeddings"  # of unit length, so that one bound suits all
TARGET = "<= 1e-3"
SETTINGS = {"TF32 off": SERVED, "TF32 on": SERVED | {"use_tf32": "1"}}


def measure(options: Options) -> Iterator[Result]:
    """Each graph with TF32 off and on; on a CPU without its optimisations instead."""
    for path in sorted(options.models.glob("*/*.onnx")):
        name = f"parity/{path.parent.name}/{path.stem}"
        truth = open_session(path, CPU)
        fields = manifest(options.models, path.parent.name)["input"].get("fields")
        given = {one.name: drawn(one, fields) for one in truth.get_inputs()}
        expected = truth.run(None, given)
        try:
            for label, session in candidates(path, options):
                found = session.run(None, given)
                for output, ours, true in zip(truth.get_outputs(), found, expected, strict=True):
                    # another arithmetic is not what the bound is for
                    target = TARGET if output.name == UNIT and label != "TF32 on" and "." not in path.stem else ""
                    yield row_of(f"{name}/{output.name}", label, ours, true, target)
        except NoCudaError as error:
            yield Skipped(name, str(error))


def candidates(path: Path, options: Options) -> Iterator[tuple[str, onnxruntime.InferenceSession]]:
    """What is compared with the CPU."""
    if options.is_cuda:
        for label, settings in SETTINGS.items():
            yield label, open_session(path, CUDA, settings)
    else:
        yield "not optimised", open_session(path, CPU, is_optimised=False)


def drawn(one: Any, fields: list[dict[str, Any]] | None) -> np.ndarray:
    """Named numbers within their ranges, and noise of everything else."""
    if fields:
        low, high = (np.array([field[end] for field in fields], np.float32) for end in ("low", "high"))
        return low + (high - low) * np.random.default_rng(0).random((ROWS, len(fields)), np.float32)
    return made(one, one.shape[0] if isinstance(one.shape[0], int) else ROWS)


def row_of(name: str, label: str, ours: np.ndarray, true: np.ndarray, target: str) -> Row:
    """The largest difference; the note has the cosine of whole rows and the largest number."""
    a, b = (array.astype(np.float64).reshape(len(array), -1) for array in (ours, true))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = np.divide(np.sum(a * b, axis=1), lengths, out=np.ones(len(a)), where=lengths > 0)
    seen = f"smallest cosine {cosines.min():.7f}, largest number {np.abs(b).max():.3g}"
    what = f"{name.removeprefix('parity/')}, {label}: {seen}"
    note = "largest difference from the CPU's optimised graph in any output number, on noise"
    return alone(f"{name}/{label.replace(' ', '-')}", what, [float(np.abs(a - b).max())], "", note, target)
