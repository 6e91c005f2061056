"""Embeddings a second of voice and face by rows of a run, with memory bound or not, and by runs at once."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnxruntime

from loadtests.bench.graphs.time_graphs import made
from loadtests.bench.rows import alone
from loadtests.gpu.options import Options
from loadtests.gpu.results import Result, Skipped
from loadtests.gpu.sessions import (
    CPU,
    CUDA,
    SERVED,
    BoundRun,
    NoCudaError,
    device_word,
    is_out_of_memory,
    open_session,
)

MODELS = {"voice": "windows", "face": "chips"}
WARM = 3


def measure(options: Options) -> Iterator[Result]:
    """Both models, each batch, both ways; then several runs at once of the best batch."""
    for model, rows_are in MODELS.items():
        name = f"batches/{model}"
        try:
            session = open_session(options.models / model / "model.onnx", CUDA if options.is_cuda else CPU, SERVED)
        except NoCudaError as error:
            yield Skipped(name, str(error))
            continue
        best = (0.0, 0)
        for rows in options.batches:
            try:
                for how, run in runs_of(session, rows, options.is_cuda).items():
                    rates = [rate(run, rows, 1, options.seconds) for _ in range(options.turns)]
                    best = max(best, (float(np.median(rates)), rows))
                    yield alone(
                        f"{name}/{rows}/{how.replace(' ', '-')}",
                        f"{model}, {rows} rows, {how}",
                        rates,
                        f"{rows_are}/s",
                        "",
                    )
            except Exception as error:  # ONNX Runtime's own classes derive from Exception alone
                if not is_out_of_memory(error):
                    raise
                yield Skipped(f"{name}/{rows}", f"memory of the device was lacking: {str(error)[:200]}")
                break
        for workers in options.workers if best[1] else ():
            run = runs_of(session, best[1], options.is_cuda)["sent and fetched"]
            rates = [rate(run, best[1], workers, options.seconds) for _ in range(options.turns)]
            what = f"{model}, {best[1]} rows (the best), {workers} runs at once"
            yield alone(f"{name}/workers/{workers}", what, rates, f"{rows_are}/s", "")


def runs_of(session: onnxruntime.InferenceSession, rows: int, is_cuda: bool) -> dict[str, Callable[[], Any]]:
    """A run by ONNX Runtime alone, and one whose memory on the device is bound once."""
    given = {one.name: made(one, rows) for one in session.get_inputs()}
    bound = BoundRun(session, device_word(is_cuda), given)
    return {"sent and fetched": lambda: session.run(None, given), "bound": bound.run}


def rate(run: Callable[[], Any], rows: int, workers: int, seconds: float) -> float:
    """Rows a second of runs by some threads at once."""
    for _ in range(WARM):
        run()
    counts = [0] * workers
    begun = time.perf_counter()

    def work(number: int) -> None:
        while not counts[number] or time.perf_counter() - begun < seconds:
            run()
            counts[number] += rows

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - begun)
