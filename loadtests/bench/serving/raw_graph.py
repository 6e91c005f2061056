"""ONNX Runtime by itself on a bundle's graph: what a row costs at the best batch size and thread setting."""

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from loadtests.bench.serving.inputs import Workload
from loadtests.bench.serving.plain_handler import FLOAT, PlainModel, chip, windows

BATCHES = (1, 2, 4, 6, 8, 12, 16, 24, 32)
SEARCH_S = 0.35  # of each setting; every run takes 3 to 90 ms

Rows = npt.NDArray[np.float32] | npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Setting:
    """Rows of one run, threads of one run, and runs at the same time."""

    batch: int
    threads: int
    streams: int

    def __str__(self) -> str:
        return f"batches of {self.batch}, {self.streams} at once, {self.threads} thread(s) each"


@dataclass(frozen=True)
class Cost:
    """Attributes: cpu_s: CPU seconds of one row. rate: rows a second. run_s: seconds of the shortest run."""

    cpu_s: float
    rate: float
    run_s: float = 0.0


class RawGraph:
    """A bundle's graph on the rows of a workload's samples.

    Args:
        models: folder of bundles.
        workload: what it is fed with.
        cores: that it may keep busy.
        graph: see plain_handler.
    """

    def __init__(self, models: Path, workload: Workload, cores: int, graph: str = FLOAT) -> None:
        self._folder, self._graph = models / workload.model, graph
        self._models: dict[int, PlainModel] = {}  # by threads of a run
        self._spec = spec = self._model(1).spec
        self._prepare = windows if spec["kind"] == "audio" else chip
        self._samples = [data for data, _ in workload.samples]
        rows = np.concatenate([self._prepare(data, spec) for data in self._samples])
        self._rows: Rows = np.concatenate([rows] * -(-max(BATCHES) // len(rows)))
        self._settings = [
            Setting(batch, threads, streams)
            for batch in BATCHES
            for threads, streams in sorted({(1, 1), (1, cores), (cores, 1)})
        ]

    def _model(self, threads: int) -> PlainModel:
        if threads not in self._models:
            self._models[threads] = PlainModel(self._folder, threads, self._graph)
        return self._models[threads]

    def best(self) -> Setting:
        """The setting whose rows cost least CPU time; twice through all, so that one slow moment decides nothing."""
        found: dict[Setting, list[float]] = {setting: [] for setting in self._settings}
        for setting in self._settings * 2:
            found[setting].append(self.cost(setting, SEARCH_S).cpu_s)
        return min(found, key=lambda setting: min(found[setting]))

    def cost(self, setting: Setting, seconds: float) -> Cost:
        """Run for some seconds and count."""
        model = self._model(setting.threads)
        feed = {model.session.get_inputs()[0].name: self._rows[: setting.batch]}
        model.session.run(None, feed)
        counts, shortest_s = [0] * setting.streams, [math.inf] * setting.streams
        end = time.perf_counter() + seconds

        def work(stream: int) -> None:
            done = time.perf_counter()
            while done < end or not counts[stream]:  # once at least, however late a busy machine begins
                started = done
                model.session.run(None, feed)
                done = time.perf_counter()
                counts[stream] += setting.batch
                shortest_s[stream] = min(shortest_s[stream], done - started)

        threads = [threading.Thread(target=work, args=(stream,)) for stream in range(setting.streams)]
        cpu, begun = time.process_time(), time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        spent_s, took_s = time.process_time() - cpu, time.perf_counter() - begun
        return Cost(spent_s / sum(counts), sum(counts) / took_s, min(shortest_s))

    def preparation_cpu_s(self, repeats: int = 3) -> float:
        """CPU seconds in which the plain handler decodes and prepares one sample, without any check."""
        cpu = time.process_time()
        for data in self._samples * repeats:
            self._prepare(data, self._spec)
        return (time.process_time() - cpu) / (repeats * len(self._samples))


def mean_rows(rows: Sequence[int]) -> float:
    """Rows of an average sample."""
    return sum(rows) / len(rows)
