"""Seconds and CPU seconds of each stage of a request, as Prometheus metrics."""

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Literal, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Histogram

from matchka.runtime.telemetry.served_request import ServedRequest, served_request

# decode: bytes to samples or pixels. prepare: to windows, or to the chips of faces. queue: rows wait for a run.
# enhance: small faces, before they are embedded. run: one run of the graph, shared or not. decide: vectors to a
# decision. store, search: as they say.
Stage: TypeAlias = Literal["decode", "prepare", "enhance", "queue", "run", "decide", "store", "search"]
NATIVE: Final = frozenset({"decode", "prepare", "enhance", "run"})  # others may wait, for a database say
STAGE_BUCKETS_S: Final = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class StageMetrics:
    """Metrics of all models' stages.

    Args:
        registry: where they are read; nowhere by default.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        labels = ("model", "stage")
        self.seconds = Histogram(
            "matchka_stage_seconds", "Seconds of a stage", labels, buckets=STAGE_BUCKETS_S, registry=registry
        )
        self.cpu_seconds = Counter("matchka_stage_cpu_seconds", "CPU seconds of a stage", labels, registry=registry)
        self.under_way: dict[TimedStage, float] = {}  # those in native code, and when they began

    def longest_s(self) -> float:
        """Seconds that the longest stage in native code has taken that is under way now."""
        return time.perf_counter() - min(list(self.under_way.values()), default=time.perf_counter())


class StageTimes:
    """Times one model's stages. Safe to call from threads.

    Args:
        metrics: where they are added; by default to some that nobody reads.
        model: label of the model.
    """

    def __init__(self, metrics: StageMetrics | None = None, model: str = "") -> None:
        self._metrics = metrics or StageMetrics()
        self._model = model
        self.under_way = self._metrics.under_way
        # to look a metric up by its labels costs twice as much as to observe something
        self._found: dict[Stage, tuple[Histogram, Counter]] = {}

    def timed(self, stage: Stage, requests: Iterable[ServedRequest | None] | None = None) -> "TimedStage":
        """A context manager whose block is one occurrence of the stage; one that raises counts as well.

        Args:
            stage: which.
            requests: as of add().
        """
        return TimedStage(self, stage, requests)

    def add(
        self,
        stage: Stage,
        seconds: float,
        cpu_seconds: float = 0.0,
        requests: Iterable[ServedRequest | None] | None = None,
    ) -> None:
        """Note one occurrence of a stage.

        Args:
            stage: which.
            seconds: that it took.
            cpu_seconds: CPU time of the thread that did it; helpers inside a library are not seen.
            requests: in whose traces it belongs; that which this thread works for by default.
        """
        found = self._found.get(stage)
        if found is None:
            labels = (self._model, stage)
            found = self._metrics.seconds.labels(*labels), self._metrics.cpu_seconds.labels(*labels)
            self._found[stage] = found
        found[0].observe(seconds)
        found[1].inc(cpu_seconds)
        for request in (served_request(),) if requests is None else requests:
            if request is not None:
                request.note_stage(self._model, stage, seconds)


class TimedStage:
    """Times one occurrence of a stage. A class, because a generator's context manager costs several times as much."""

    def __init__(self, times: StageTimes, stage: Stage, requests: Iterable[ServedRequest | None] | None = None) -> None:
        self._times = times
        self._stage: Stage = stage
        self._requests = requests
        self._begun = self._cpu_begun = 0.0

    def __enter__(self) -> None:
        self._begun, self._cpu_begun = time.perf_counter(), time.thread_time()
        if self._stage in NATIVE:
            self._times.under_way[self] = self._begun

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._times.under_way.pop(self, None)
        seconds, cpu_seconds = time.perf_counter() - self._begun, time.thread_time() - self._cpu_begun
        self._times.add(self._stage, seconds, cpu_seconds, self._requests)
