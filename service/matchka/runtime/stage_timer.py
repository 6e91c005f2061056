"""Where the time of requests goes: seconds and CPU seconds of each stage of one model."""

import time
from bisect import bisect_left
from dataclasses import dataclass, field
from threading import Lock
from types import TracebackType
from typing import Final, Literal, TypeAlias

# decode: bytes to samples or pixels. prepare: to windows, or to the chips of faces. queue: rows wait for a run.
# run: one run of the graph, shared or not. decide: vectors to a decision. store, search: as they say.
Stage: TypeAlias = Literal["decode", "prepare", "queue", "run", "decide", "store", "search"]
STAGE_BUCKETS_S: Final = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


@dataclass
class StageReading:
    """What one stage took so far.

    Attributes:
        counts: how often it took at most each of STAGE_BUCKETS_S, but longer than the one before; the last: longer.
        seconds: altogether.
        cpu_seconds: CPU time of the threads that did it; helpers inside a library are not seen.
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(STAGE_BUCKETS_S) + 1))
    seconds: float = 0.0
    cpu_seconds: float = 0.0


class StageTimes:
    """Adds up the stages of one model. Safe to call from threads."""

    def __init__(self) -> None:
        self._readings: dict[Stage, StageReading] = {}
        self._lock = Lock()

    def timed(self, stage: Stage) -> "TimedStage":
        """A context manager whose block is one occurrence of the stage; one that raises counts as well."""
        return TimedStage(self, stage)

    def add(self, stage: Stage, seconds: float, cpu_seconds: float = 0.0) -> None:
        """Note one occurrence of a stage."""
        bucket = bisect_left(STAGE_BUCKETS_S, seconds)
        with self._lock:
            reading = self._readings.get(stage)
            if reading is None:
                reading = self._readings[stage] = StageReading()
            reading.counts[bucket] += 1
            reading.seconds += seconds
            reading.cpu_seconds += cpu_seconds

    def readings(self) -> dict[Stage, StageReading]:
        """A copy of what was added so far, by stage."""
        with self._lock:
            return {
                stage: StageReading(list(found.counts), found.seconds, found.cpu_seconds)
                for stage, found in self._readings.items()
            }


class TimedStage:
    """See StageTimes.timed. A class, because a generator's context manager costs several times as much."""

    def __init__(self, times: StageTimes, stage: Stage) -> None:
        self._times = times
        self._stage: Stage = stage
        self._begun = self._cpu_begun = 0.0

    def __enter__(self) -> None:
        self._begun, self._cpu_begun = time.perf_counter(), time.thread_time()

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._times.add(self._stage, time.perf_counter() - self._begun, time.thread_time() - self._cpu_begun)
