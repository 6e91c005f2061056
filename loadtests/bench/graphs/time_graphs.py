"""CPU time of graphs, one thread each: a program of its own, so that any environment with ONNX Runtime can run it.

python loadtests/bench/graphs/time_graphs.py 6 models/voice/model.onnx models/face/pnet.onnx
"""

import json
import sys
import time
from statistics import median
from typing import Any

import numpy as np
import onnxruntime

FREE_AXIS = 250  # pixels of a picture
FREE_SAMPLES = 48_000  # of a clip
TURNS, TURN_S = 5, 0.05


def main() -> None:
    """Print file -> milliseconds of a row, in runs of as many rows as the first argument says."""
    rows, *files = sys.argv[1:]
    print(json.dumps({file: milliseconds(file, int(rows)) for file in files}))  # noqa: T201 - the answer


def milliseconds(file: str, rows: int) -> float:
    """Median CPU time of a row."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    given = {one.name: made(one, rows) for one in session.get_inputs()}
    session.run(None, given)
    found = []
    for _ in range(TURNS):
        runs, begun = 0, time.thread_time()
        while (spent := time.thread_time() - begun) < TURN_S or not runs:
            session.run(None, given)
            runs += 1
        found.append(1e3 * spent / runs / rows)
    return median(found)


def made(given: Any, rows: int) -> np.ndarray:
    """Noise of an input's shape and type."""
    free = FREE_SAMPLES if len(given.shape) == 2 else FREE_AXIS
    shape = (rows, *(axis if isinstance(axis, int) else free for axis in given.shape[1:]))
    generator = np.random.default_rng(0)
    if given.type == "tensor(uint8)":
        return generator.integers(0, 256, shape, dtype=np.uint8)
    return (0.05 * generator.standard_normal(shape)).astype(np.float32)


if __name__ == "__main__":
    main()
