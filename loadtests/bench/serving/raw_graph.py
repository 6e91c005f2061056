"""ONNX Runtime by itself on a bundle's graph: what a row costs at the best batch size and thread setting."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from loadtests.bench.serving.inputs import Workload
from loadtests.bench.serving.plain_handler import PlainModel, chip, windows

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
    """CPU seconds of one row, and rows a second."""

    cpu_s: float
    rate: float


class RawGraph:
    """A bundle's graph on the rows of a workload's samples.

    Args:
        models: folder of bundles.
        workload: what it is fed with.
        cores: of this machine.
    """

    def __init__(self, models: Path, workload: Workload, cores: int) -> None:
        self._models = {threads: PlainModel(models / workload.model, threads) for threads in {1, cores}}
        spec = self._models[1].spec
        self._prepare = windows if spec["kind"] == "audio" else chip
        self._samples = [data for data, _ in workload.samples]
        rows = np.concatenate([self._prepare(data, spec) for data in self._samples])
        self._rows: Rows = np.concatenate([rows] * -(-max(BATCHES) // len(rows)))
        self._settings = [
            Setting(batch, threads, streams)
            for batch in BATCHES
            for threads, streams in sorted({(1, 1), (1, cores), (cores, 1)})
        ]

    def best(self) -> Setting:
        """The setting whose rows cost least CPU time; twice through all, so that one slow moment decides nothing."""
        found: dict[Setting, list[float]] = {setting: [] for setting in self._settings}
        for setting in self._settings * 2:
            found[setting].append(self.cost(setting, SEARCH_S).cpu_s)
        return min(found, key=lambda setting: min(found[setting]))

    def cost(self, setting: Setting, seconds: float) -> Cost:
        """Run for some seconds and count."""
        model = self._models[setting.threads]
        feed = {model.session.get_inputs()[0].name: self._rows[: setting.batch]}
        model.session.run(None, feed)
        counts = [0] * setting.streams
        end = time.perf_counter() + seconds

        def work(stream: int) -> None:
            while time.perf_counter() < end:
                model.session.run(None, feed)
                counts[stream] += setting.batch

        threads = [threading.Thread(target=work, args=(stream,)) for stream in range(setting.streams)]
        cpu, begun = time.process_time(), time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Cost((time.process_time() - cpu) / sum(counts), sum(counts) / (time.perf_counter() - begun))

    def preparation_cpu_s(self, repeats: int = 3) -> float:
        """CPU seconds in which the plain handler decodes and prepares one sample, without any check."""
        cpu = time.process_time()
        for data in self._samples * repeats:
            self._prepare(data, self._models[1].spec)
        return (time.process_time() - cpu) / (repeats * len(self._samples))


def mean_rows(rows: Sequence[int]) -> float:
    """Rows of an average sample."""
    return sum(rows) / len(rows)
