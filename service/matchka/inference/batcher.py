"""Dynamic batching: the rows of concurrent requests share one inference run."""

import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Condition, Event, Thread
from typing import Final, cast

import numpy as np

from matchka.errors import BundleError, ClientGoneError, MatchkaError, NotReadyError, OverloadedError
from matchka.inference.batch_policy import (
    LEAST_SHARE_ROWS,
    MANY_ROWS,
    BatchPolicy,
    is_intra_op_parallel,
    rows_to_take,
)
from matchka.inference.session import NamedArrays, Session, Shape
from matchka.modalities.modality import InputArray
from matchka.runtime.deadline import Deadline, current_deadline
from matchka.runtime.fairness.account import Account, current_account
from matchka.runtime.fairness.shares import FairClock, has_room
from matchka.runtime.stage_timer import StageTimes
from matchka.runtime.telemetry.served_request import ServedRequest, served_request

LOGGER: Final = logging.getLogger("matchka")
SHUTDOWN_S: Final = 5.0  # a run takes well under a second


@dataclass(frozen=True)
class BatchCounts:
    """What a batcher did so far, and what waits.

    Attributes:
        runs: rows of a run -> how many runs had so many.
        queued_rows: rows that wait for a worker now.
        dropped: why -> requests that left the queue without an answer: `deadline`, `client_gone`, `overloaded`.
    """

    runs: dict[int, int]
    queued_rows: int
    dropped: dict[str, int]


@dataclass(eq=False)
class _Waiter:
    """One call of run(): its rows, and where what they give goes. Rows before `taken` have left the queue."""

    inputs: InputArray
    account: Account
    deadline: Deadline
    queued_at: float
    request: ServedRequest | None
    outputs: NamedArrays = field(default_factory=dict)
    taken: int = 0
    runs: int = 0  # that its rows are in now
    answered: int = 0
    error: Exception | None = None
    done: Event = field(default_factory=Event)

    @property
    def row_shape(self) -> tuple[int, ...]:
        return self.inputs.shape[1:]

    @property
    def waiting_rows(self) -> int:
        return len(self.inputs) - self.taken

    def answer(self, start: int, stop: int, run_outputs: NamedArrays, run_start: int) -> None:
        """Take over what a run gave for rows start..stop, which were its rows from run_start on."""
        count = stop - start
        for name, array in run_outputs.items():
            if name not in self.outputs:  # how long its rows are is known from the first of them
                self.outputs[name] = np.empty((len(self.inputs), *array.shape[1:]), np.float32)
            self.outputs[name][start:stop] = array[run_start : run_start + count]
        self.answered += count

    def tell_if_whole(self) -> None:
        if self.answered == len(self.inputs):
            self.done.set()

    def fail(self, error: Exception) -> None:
        if not self.done.is_set():
            self.error = error
            self.done.set()


@dataclass(frozen=True)
class _Part:
    """Rows start..stop of a waiter, in one run."""

    waiter: _Waiter
    start: int
    stop: int


@dataclass(frozen=True)
class _Run:
    """What a worker does next: parts of waiters together, on the session that suits them."""

    session: Session
    parts: list[_Part]


class Batcher:
    """A Session that shares the runs of another one between all threads that call it.

    Accounts take turns (FairClock); the rows of one wait in the order of arrival. A thread of the batcher (a worker)
    takes what waits as soon as it is free, so batches grow with the load and a lone request never waits; rows of one
    run are of one length. What a row gives does not depend on its company.

    Args:
        session: runs the graph; called by the workers only.
        policy: bounds and waits.
        clock: monotonic seconds.
        name: of its threads.
        times: where the time that rows wait, and that runs take, is added.
        parallel: the same graph on several cores, for a lone request; the session itself by default.
        keep_share: whether long work should leave some of the cores free: then a request of many rows has one worker.
    """

    def __init__(
        self,
        session: Session,
        policy: BatchPolicy,
        clock: Callable[[], float] = time.monotonic,
        name: str = "model",
        times: StageTimes | None = None,
        parallel: Session | None = None,
        keep_share: Callable[[], bool] = lambda: False,
    ) -> None:
        self._session = session
        self._parallel = parallel or session
        self._times = times or StageTimes()
        self._policy = policy
        self._clock = clock
        self._queue: deque[_Waiter] = deque()
        self._fair = FairClock()  # of rows
        self._keep_share = keep_share
        self._idle_workers = policy.workers
        self._callers = 0  # of run(), whose rows are queued or run
        self._met_at = -math.inf  # when one came while another was there
        self._changed = Condition()  # guards all fields of this class and of its waiters
        self._stopped = False
        self._runs: Counter[int] = Counter()
        self._dropped: Counter[str] = Counter()
        # daemons: a run that hangs in native code must not keep a process alive that was told to stop
        self._workers = [
            Thread(target=self._serve, name=f"{name}-worker-{n}", daemon=True) for n in range(policy.workers)
        ]
        for worker in self._workers:
            worker.start()

    @property
    def outputs(self) -> Mapping[str, Shape]:
        """What the graph returns of a row, by name."""
        return self._session.outputs

    def run(self, rows: InputArray) -> NamedArrays:
        """Run rows, together with those of other threads; see Session.run.

        Raises:
            OverloadedError: too many rows wait already.
            DeadlinePassedError, ClientGoneError: the current request was given up first.
            NotReadyError: the batcher was closed, or died.
        """
        deadline = current_deadline()
        deadline.require()
        waiter = _Waiter(rows, current_account(), deadline, self._clock(), served_request())
        self._enqueue(waiter)
        try:
            while not waiter.done.wait(deadline.remaining_s):
                with self._changed:
                    self._drop_if_expired(waiter)
        finally:
            with self._changed:
                self._callers -= 1
        if waiter.error is not None:
            raise waiter.error
        return waiter.outputs

    def counts(self) -> BatchCounts:
        """What was done so far, and what waits."""
        with self._changed:
            return BatchCounts(dict(self._runs), self._queued_rows, dict(self._dropped))

    def close(self) -> None:
        """Stop the workers and fail whoever still waits. Not an error when repeated."""
        with self._changed:
            self._stop()
        for worker in self._workers:
            worker.join(SHUTDOWN_S)

    @property
    def _queued_rows(self) -> int:
        return sum(waiter.waiting_rows for waiter in self._queue)

    def _enqueue(self, waiter: _Waiter) -> None:
        with self._changed:
            if self._stopped:
                raise _stopped_error()
            rows, most = len(waiter.inputs), self._policy.max_queued_rows
            queued = Counter[Account]()
            for other in self._queue:
                queued[other.account] += other.waiting_rows
            if queued.total() and not has_room(queued, waiter.account, rows, most):
                self._dropped["overloaded"] += 1
                raise OverloadedError(
                    f"{queued.total()} rows wait for this model; its queue holds {most} of one key.",
                    value=rows,
                    remedy="Try again after the seconds in Retry-After.",
                )
            if self._callers:
                self._met_at = self._clock()
            self._callers += 1
            self._queue.append(waiter)
            self._changed.notify(max(1, rows // LEAST_SHARE_ROWS))  # as many workers as can have a share

    def _serve(self) -> None:
        """Main loop of a worker. However it ends, every waiter is answered."""
        parts: list[_Part] = []
        try:
            while run := self._take():
                parts = run.parts
                self._execute(run)
                with self._changed:
                    self._idle_workers += 1  # before the caller knows, who may be back at once
                    for part in parts:
                        part.waiter.runs -= 1
                        part.waiter.tell_if_whole()
        except BaseException:  # handed to every waiter
            LOGGER.critical("a batch worker died; the model answers no more", exc_info=True)
        finally:
            with self._changed:
                self._stop()
                for part in parts:
                    part.waiter.fail(_stopped_error())

    def _take(self) -> _Run | None:
        """Wait for the rows of the next run; None when there will be none."""
        with self._changed:
            while not self._stopped:
                for waiter in list(self._queue):
                    self._drop_if_expired(waiter)
                ready = self._ready()
                wait_s = self._seconds_to_wait(ready)
                if wait_s is not None and wait_s <= 0.0:
                    return self._dequeue(ready)
                self._changed.wait(wait_s)
        return None

    def _ready(self) -> list[_Waiter]:
        """Those whose rows may run now."""
        if not self._keep_share():
            return list(self._queue)
        return [waiter for waiter in self._queue if not waiter.runs or len(waiter.inputs) < MANY_ROWS]

    def _seconds_to_wait(self, ready: list[_Waiter]) -> float | None:
        """Seconds that rows may still wait for others; None where there are none."""
        if not ready:
            return None
        rows = sum(waiter.waiting_rows for waiter in ready)
        if rows >= self._policy.enough_rows or self._idle_workers == self._policy.workers:
            return 0.0
        return ready[0].queued_at + self._policy.max_wait_s - self._clock()

    def _dequeue(self, ready: list[_Waiter]) -> _Run:
        """Rows of the waiter whose turn it is, and of others that are as long: whole clips may differ in length."""
        first = self._next(ready)
        alike = [waiter for waiter in ready if waiter.row_shape == first.row_shape]
        rows = rows_to_take(sum(waiter.waiting_rows for waiter in alike), self._idle_workers, self._policy)
        parts: list[_Part] = []
        most_rows = rows
        while most_rows and alike:
            waiter = self._next(alike)
            start, stop = waiter.taken, min(len(waiter.inputs), waiter.taken + most_rows)
            if start == 0:
                self._times.add("queue", self._clock() - waiter.queued_at, requests=[waiter.request])
            parts.append(_Part(waiter, start, stop))
            waiter.taken = stop
            waiter.runs += 1
            most_rows -= stop - start
            self._fair.charge(waiter.account, stop - start)
            if stop == len(waiter.inputs):
                alike.remove(waiter)
                self._queue.remove(waiter)
        lone_s = self._clock() - self._met_at
        is_parallel = is_intra_op_parallel(rows, self._queued_rows, self._idle_workers, self._policy, lone_s)
        self._idle_workers -= 1
        if self._queue:
            self._changed.notify()
        return _Run(self._parallel if is_parallel else self._session, parts)

    def _next(self, eligible: list[_Waiter]) -> _Waiter:
        """The first of the account whose turn it is."""
        account = self._fair.first((waiter.account for waiter in self._queue), (waiter.account for waiter in eligible))
        return next(waiter for waiter in eligible if waiter.account == account)

    def _drop_if_expired(self, waiter: _Waiter) -> None:
        """Tell a waiter that has expired; its queued rows leave the queue, as do those of one that failed."""
        cancellation = waiter.deadline.cancellation
        if cancellation is not None and not waiter.done.is_set():
            self._dropped["client_gone" if isinstance(cancellation, ClientGoneError) else "deadline"] += 1
            waiter.fail(cancellation)
        if waiter.done.is_set() and waiter in self._queue:
            self._queue.remove(waiter)

    def _execute(self, run: _Run) -> None:
        """Run rows together; where that fails, each waiter's alone, so that the error finds the one that caused it."""
        parts = run.parts
        try:
            outputs = self._run_joined(run)
        except BaseException as error:  # handed to every waiter
            if len(parts) > 1:
                for part in parts:
                    self._execute(_Run(run.session, [part]))
            else:
                self._fail(parts[0].waiter, error)
            return
        with self._changed:
            start = 0
            for part in parts:
                part.waiter.answer(part.start, part.stop, outputs, start)
                start += part.stop - part.start
            self._runs[start] += 1

    def _run_joined(self, run: _Run) -> NamedArrays:
        rows = [part.waiter.inputs[part.start : part.stop] for part in run.parts]
        joined = rows[0] if len(rows) == 1 else cast(InputArray, np.concatenate(rows))
        with self._times.timed("run", [part.waiter.request for part in run.parts]):
            outputs = run.session.run(joined)
        for name, array in outputs.items():
            if len(array) != len(joined):
                raise BundleError(
                    f"The graph returned {len(array)} {name} for {len(joined)} rows.",
                    remedy="Build the bundle again with `matchka-export defaults`.",
                )
        return outputs

    def _fail(self, waiter: _Waiter, error: BaseException) -> None:
        broken_off = MatchkaError(
            "The run of the model was broken off.", value=repr(error), remedy="Report this with the server's log."
        )
        with self._changed:
            waiter.fail(error if isinstance(error, Exception) else broken_off)

    def _stop(self) -> None:
        self._stopped = True
        for waiter in self._queue:
            waiter.fail(_stopped_error())
        self._queue.clear()
        self._changed.notify_all()


def _stopped_error() -> NotReadyError:
    return NotReadyError("The model has stopped.", remedy="Restart the service; its log says why it stopped.")
