"""Batches of many requests: everybody gets what they would have got alone, or an error of their own."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matchka.errors import (
    BundleError,
    ClientGoneError,
    DeadlinePassedError,
    MatchkaError,
    NonFiniteEmbeddingError,
    NotReadyError,
    OverloadedError,
)
from matchka.inference.batch_policy import LONE_S, MANY_ROWS, BatchPolicy, rows_to_take
from matchka.inference.batcher import Batcher
from matchka.inference.session import NamedArrays, OrtSession, Session, Shape
from matchka.runtime.deadline import Deadline, working_for
from matchka.runtime.fairness.account import ANONYMOUS, Account, working_as
from tests.factories.checkout import ROOT
from tests.factories.graphs import OUTPUTS, WINDOW, projection, write_graph

TEST_TIMEOUT_S = 120.0  # a waiter that hangs fails its test after this long


def windows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, (count, WINDOW)).astype(np.float32)


def expected(inputs: np.ndarray) -> np.ndarray:
    """What the test graph computes of each row, in float64."""
    bands, mix, bias = (weights.astype(np.float64) for weights in projection())
    return np.array([np.abs(row.astype(np.float64) @ bands) @ mix + bias for row in inputs])


@dataclass
class WatchedSession:
    """A session whose runs are noted, and that waits before each of them until it may."""

    inner: Session
    runs: list[np.ndarray] = field(default_factory=list)
    may_run: threading.Event = field(default_factory=threading.Event)
    began: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    before: Callable[[np.ndarray], None] = lambda _inputs: None

    @property
    def outputs(self) -> Mapping[str, Shape]:
        return self.inner.outputs

    def run(self, inputs: np.ndarray) -> NamedArrays:
        self.runs.append(inputs.copy())
        self.began.release()
        assert self.may_run.wait(TEST_TIMEOUT_S)
        self.before(inputs)
        return self.inner.run(inputs)

    @property
    def sizes(self) -> list[int]:
        return [len(run) for run in self.runs]

    def wait_for_a_run(self) -> None:
        assert self.began.acquire(timeout=TEST_TIMEOUT_S)

    def saw(self, row: np.ndarray) -> bool:
        return any(np.array_equal(row, seen) for run in self.runs for seen in run)


@dataclass
class Callers:
    """Threads that embed, each its own rows."""

    batcher: Batcher
    pool: ThreadPoolExecutor

    def send(
        self, inputs: np.ndarray, deadline: Deadline | None = None, account: Account = ANONYMOUS
    ) -> Future[np.ndarray]:
        """Returns at once."""
        return self.pool.submit(self._embed, inputs, deadline or Deadline(TEST_TIMEOUT_S), account)

    def send_and_queue(
        self, inputs: np.ndarray, deadline: Deadline | None = None, account: Account = ANONYMOUS
    ) -> Future[np.ndarray]:
        """Returns when the rows wait in the queue."""
        before = self.batcher.counts().queued_rows
        found = self.send(inputs, deadline, account)
        until(lambda: self.batcher.counts().queued_rows == before + len(inputs))
        return found

    def _embed(self, inputs: np.ndarray, deadline: Deadline, account: Account) -> np.ndarray:
        with working_for(deadline), working_as(account):
            return self.batcher.run(inputs)["embeddings"]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TEST_TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture(scope="module")
def ort(tmp_path_factory: pytest.TempPathFactory) -> OrtSession:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    write_graph(path)
    return OrtSession(path, "windows", (WINDOW,), OUTPUTS, threads=1)


@pytest.fixture
def watched(ort: OrtSession) -> WatchedSession:
    return WatchedSession(ort)


@pytest.fixture
def start(watched: WatchedSession) -> Iterator[Callable[[BatchPolicy], Callers]]:
    """Starts batchers over the watched session; the session may run when the test ends."""
    with ExitStack() as stack:

        def started(policy: BatchPolicy, **given: Callable[[], bool]) -> Callers:
            batcher = Batcher(watched, policy, **given)
            stack.callback(batcher.close)
            pool = stack.enter_context(ThreadPoolExecutor(64))
            stack.callback(watched.may_run.set)
            return Callers(batcher, pool)

        yield started


def answer(found: Future[np.ndarray]) -> np.ndarray:
    return found.result(TEST_TIMEOUT_S)


@given(rows=st.integers(1, 500), workers=st.integers(1, 8), max_rows=st.integers(1, 64))
def test_rows_to_take_by_workers_one_after_the_other_leaves_nothing_that_fits(rows: int, workers: int, max_rows: int):
    policy = BatchPolicy(max_rows=max_rows, workers=workers)
    left = rows
    shares = []
    for idle in range(workers, 0, -1):
        if left:
            shares.append(rows_to_take(left, idle, policy))
            left -= shares[-1]
    assert all(1 <= share <= max_rows for share in shares)
    assert sum(shares) == min(rows, sum([max_rows] * workers)) or len(shares) < workers
    assert left == 0 or shares == [max_rows] * workers
    # a worker idles only where its share would have been less than four rows
    assert len(shares) == workers or rows < 4 * workers
    assert len(shares) == 1 or min(shares) >= 4 or max_rows < 8


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    max_rows=st.integers(1, 33),
    workers=st.integers(1, 3),
    wait_ms=st.sampled_from([0.0, 2.0]),
)
def test_run_of_any_mixture_of_requests_equals_each_row_alone(
    ort: OrtSession, sizes: list[int], max_rows: int, workers: int, wait_ms: float
):
    free = WatchedSession(ort)
    free.may_run.set()
    batcher = Batcher(free, BatchPolicy(max_rows, wait_ms / 1000.0, 10_000, workers))
    requests = [windows(size, seed) for seed, size in enumerate(sizes)]
    with ThreadPoolExecutor(len(sizes)) as pool:
        answers = list(pool.map(batcher.run, requests, timeout=TEST_TIMEOUT_S))
    batcher.close()
    for request, found in zip(requests, answers, strict=True):
        alone = np.concatenate([ort.run(row[None])["embeddings"] for row in request])
        np.testing.assert_allclose(found["embeddings"], alone, rtol=0, atol=1e-5)
        np.testing.assert_allclose(found["embeddings"], expected(request), rtol=1e-4, atol=1e-4)
    assert max(free.sizes) <= max_rows
    assert sum(free.sizes) == sum(sizes)
    counts = batcher.counts()
    assert sorted(counts.runs.items()) == [(size, free.sizes.count(size)) for size in sorted(set(free.sizes))]
    assert (counts.queued_rows, counts.dropped) == (0, {})


def test_run_while_the_model_runs_shares_the_next_run_in_order_of_arrival(
    watched: WatchedSession, start: Callable[[BatchPolicy], Callers]
):
    callers = start(BatchPolicy(max_rows=16))
    first = callers.send(windows(1, 100))
    watched.wait_for_a_run()
    later = [callers.send_and_queue(windows(count, count)) for count in (3, 5, 9)]
    assert callers.batcher.counts().queued_rows == 17
    watched.may_run.set()
    for count, found in zip((3, 5, 9), later, strict=True):
        np.testing.assert_allclose(answer(found), expected(windows(count, count)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(answer(first), expected(windows(1, 100)), rtol=1e-4, atol=1e-4)
    assert watched.sizes == [1, 16, 1]
    np.testing.assert_array_equal(watched.runs[1], np.concatenate([windows(n, n) for n in (3, 5, 9)])[:16])


def test_run_of_an_account_that_comes_later_is_before_what_another_has_waiting(
    watched: WatchedSession, start: Callable[..., Callers]
):
    callers = start(BatchPolicy(max_rows=6))
    many, single = Account("many"), Account("single")
    first = callers.send(windows(78, 1), account=many)
    watched.wait_for_a_run()
    second = callers.send_and_queue(windows(40, 2), account=many)
    found = callers.send_and_queue(windows(2, 3), account=single)
    watched.may_run.set()
    np.testing.assert_allclose(answer(found), expected(windows(2, 3)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(answer(first), expected(windows(78, 1)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(answer(second), expected(windows(40, 2)), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(watched.runs[1][:2], windows(2, 3))
    np.testing.assert_array_equal(watched.runs[1][2:], windows(78, 1)[6:10])


def test_run_of_many_rows_while_cores_are_to_be_left_has_one_worker_and_others_run_beside_it(
    watched: WatchedSession, start: Callable[..., Callers]
):
    callers = start(BatchPolicy(max_rows=6, workers=3), keep_share=lambda: True)
    many = callers.send(windows(MANY_ROWS, 1))
    watched.wait_for_a_run()
    few = callers.send(windows(2, 2))
    watched.wait_for_a_run()
    until(lambda: callers.batcher.counts().queued_rows == MANY_ROWS - watched.sizes[0])
    assert watched.sizes[1] == 2
    watched.may_run.set()
    np.testing.assert_allclose(answer(few), expected(windows(2, 2)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(answer(many), expected(windows(MANY_ROWS, 1)), rtol=1e-4, atol=1e-4)


def test_run_of_many_rows_while_all_workers_are_idle_is_shared_by_the_workers(
    watched: WatchedSession, start: Callable[[BatchPolicy], Callers]
):
    callers = start(BatchPolicy(max_rows=16, workers=2))
    found = callers.send(windows(9))
    watched.wait_for_a_run()
    watched.wait_for_a_run()
    watched.may_run.set()
    np.testing.assert_allclose(answer(found), expected(windows(9)), rtol=1e-4, atol=1e-4)
    assert sorted(watched.sizes) == [4, 5]
    answer(callers.send(windows(7)))
    assert watched.sizes[2:] == [7]


@pytest.mark.parametrize(("rows", "is_parallel"), [(1, False), (2, True), (7, True)])
def test_run_while_nothing_else_is_there_runs_intra_op_parallel_unless_it_is_too_small(
    ort: OrtSession, rows: int, is_parallel: bool
):
    narrow, parallel = WatchedSession(ort), WatchedSession(ort)
    narrow.may_run.set()
    parallel.may_run.set()
    batcher = Batcher(narrow, BatchPolicy(max_rows=16, workers=2, least_parallel_rows=2), parallel=parallel)
    for _ in range(3):
        found = batcher.run(windows(rows))["embeddings"]
        np.testing.assert_allclose(found, expected(windows(rows)), rtol=1e-4, atol=1e-4)
    batcher.close()
    assert (sum(parallel.sizes), sum(narrow.sizes)) == ((3 * rows, 0) if is_parallel else (0, 3 * rows))


@pytest.mark.parametrize(("rows", "sizes"), [(4, [4]), (9, [4, 5]), (12, [6, 6])])
def test_run_with_a_worker_more_than_cores_divides_rows_among_cores_only(
    watched: WatchedSession, start: Callable[[BatchPolicy], Callers], rows: int, sizes: list[int]
):
    callers = start(BatchPolicy(max_rows=6, workers=3, most_shares=2))
    watched.may_run.set()
    np.testing.assert_allclose(answer(callers.send(windows(rows))), expected(windows(rows)), rtol=1e-4, atol=1e-4)
    assert sorted(watched.sizes) == sizes


def test_run_beside_a_busy_worker_takes_full_runs_on_the_workers_beyond_cores(
    watched: WatchedSession, start: Callable[[BatchPolicy], Callers]
):
    callers = start(BatchPolicy(max_rows=6, workers=3, most_shares=2))
    first = callers.send(windows(1))
    watched.wait_for_a_run()
    second = callers.send(windows(8, 1))
    watched.wait_for_a_run()
    watched.wait_for_a_run()
    watched.may_run.set()
    np.testing.assert_allclose(answer(second), expected(windows(8, 1)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(answer(first), expected(windows(1)), rtol=1e-4, atol=1e-4)
    assert watched.sizes[0] == 1
    assert sorted(watched.sizes[1:]) == [2, 6]


def test_run_while_another_worker_runs_does_not_take_its_core(ort: OrtSession):
    narrow, parallel = WatchedSession(ort), WatchedSession(ort)
    narrow.may_run.set()
    batcher = Batcher(narrow, BatchPolicy(max_rows=16, workers=2), parallel=parallel)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(batcher.run, windows(3))
        parallel.wait_for_a_run()
        second = batcher.run(windows(2, 1))["embeddings"]
        parallel.may_run.set()
        np.testing.assert_allclose(answer(first)["embeddings"], expected(windows(3)), rtol=1e-4, atol=1e-4)
    batcher.close()
    np.testing.assert_allclose(second, expected(windows(2, 1)), rtol=1e-4, atol=1e-4)
    assert (parallel.sizes, narrow.sizes) == ([3], [2])


def test_run_after_two_requests_met_is_intra_op_parallel_only_when_that_is_some_time_ago(ort: OrtSession):
    narrow, parallel = WatchedSession(ort), WatchedSession(ort)
    narrow.may_run.set()
    now = 0.0
    policy = BatchPolicy(max_rows=16, workers=2)
    batcher = Batcher(narrow, policy, clock=lambda: now, parallel=parallel)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(batcher.run, windows(3))
        parallel.wait_for_a_run()
        batcher.run(windows(2, 1))  # beside the first
        parallel.may_run.set()
        answer(first)
    now = 0.9 * LONE_S
    batcher.run(windows(4))
    now = 1.1 * LONE_S
    batcher.run(windows(5))
    batcher.close()
    assert (parallel.sizes, narrow.sizes) == ([3, 5], [2, 4])


def test_run_alone_does_not_wait_for_company(watched: WatchedSession, start: Callable[[BatchPolicy], Callers]):
    callers = start(BatchPolicy(max_rows=16, max_wait_s=3600.0, workers=2))
    watched.may_run.set()
    for _ in range(3):
        answer(callers.send(windows(1)))
    assert watched.sizes == [1, 1, 1]


def test_run_while_another_worker_runs_waits_until_half_a_batch_is_there(
    watched: WatchedSession, start: Callable[[BatchPolicy], Callers]
):
    callers = start(BatchPolicy(max_rows=8, max_wait_s=3600.0, workers=2))
    callers.send(windows(1))
    watched.wait_for_a_run()
    callers.send_and_queue(windows(3, 3))
    assert watched.sizes == [1]
    callers.send(windows(1, 1))
    watched.wait_for_a_run()
    assert watched.sizes == [1, 4]


def test_run_while_another_worker_runs_waits_no_longer_than_the_setting(
    watched: WatchedSession, start: Callable[[BatchPolicy], Callers]
):
    callers = start(BatchPolicy(max_rows=4, max_wait_s=0.02, workers=2))
    callers.send(windows(1))
    watched.wait_for_a_run()
    callers.send(windows(1, 1))
    watched.wait_for_a_run()
    assert watched.sizes == [1, 1]


def test_run_with_one_poisoned_row_among_31_good_requests_fails_that_one_only(
    watched: WatchedSession, start: Callable[[BatchPolicy], Callers]
):
    callers = start(BatchPolicy(max_rows=32))
    blocker = callers.send(windows(1, 100))
    watched.wait_for_a_run()
    rows = [windows(1, seed) for seed in range(32)]
    rows[13][0, 7] = np.nan
    found = [callers.send_and_queue(row) for row in rows]
    watched.may_run.set()
    for number, (row, one) in enumerate(zip(rows, found, strict=True)):
        if number == 13:
            with pytest.raises(NonFiniteEmbeddingError):
                answer(one)
        else:
            np.testing.assert_allclose(answer(one), expected(row), rtol=1e-4, atol=1e-4)
    answer(blocker)
    assert watched.sizes[1] == 32


@pytest.mark.parametrize("raised", [RuntimeError("native"), SystemExit(3), KeyboardInterrupt(), MemoryError()])
def test_run_when_a_run_breaks_off_tells_every_waiter_and_the_next_is_served(
    watched: WatchedSession, start: Callable[[BatchPolicy], Callers], raised: BaseException
):
    def break_off(_inputs: np.ndarray) -> None:
        raise raised

    callers = start(BatchPolicy(max_rows=8))
    first = callers.send(windows(1))
    watched.wait_for_a_run()
    found = [first, *(callers.send_and_queue(windows(2, seed)) for seed in range(5))]
    watched.before = break_off
    watched.may_run.set()
    expected_kind = type(raised) if isinstance(raised, Exception) else MatchkaError
    for one in found:
        with pytest.raises(expected_kind):
            answer(one)
    watched.before = lambda _inputs: None
    np.testing.assert_allclose(answer(callers.send(windows(2))), expected(windows(2)), rtol=1e-4, atol=1e-4)


def test_run_by_a_graph_of_several_outputs_gives_every_caller_its_rows_of_each():
    class Two:
        outputs: Mapping[str, Shape] = MappingProxyType({"sums": (), "turned": (WINDOW, 1)})

        def run(self, inputs: np.ndarray) -> NamedArrays:
            return {"sums": inputs.sum(axis=1), "turned": inputs[:, ::-1, None]}

    batcher = Batcher(Two(), BatchPolicy(max_rows=4, max_wait_s=0.002, workers=2))
    requests = [windows(rows, seed) for seed, rows in enumerate((1, 9, 2, 5, 1))]
    with ThreadPoolExecutor(len(requests)) as pool:
        answers = list(pool.map(batcher.run, requests, timeout=TEST_TIMEOUT_S))
    batcher.close()
    for request, found in zip(requests, answers, strict=True):
        assert set(found) == {"sums", "turned"}
        np.testing.assert_array_equal(found["sums"], [row.sum() for row in request])
        np.testing.assert_array_equal(found["turned"][:, :, 0], [row[::-1] for row in request])


def test_run_by_a_graph_that_returns_too_few_rows_is_refused(ort: OrtSession):
    class Short:
        outputs = OUTPUTS

        def run(self, inputs: np.ndarray) -> NamedArrays:
            return {"embeddings": ort.run(inputs)["embeddings"][:-1]}

    batcher = Batcher(Short(), BatchPolicy())
    with pytest.raises(BundleError, match="2 embeddings for 3 rows"):
        batcher.run(windows(3))
    batcher.close()


def test_run_when_a_worker_dies_fails_everybody_who_waits_and_all_who_come(
    watched: WatchedSession, start: Callable[[BatchPolicy], Callers], caplog: pytest.LogCaptureFixture
):
    def clock() -> float:
        if "worker" in threading.current_thread().name and watched.may_run.is_set():
            raise ZeroDivisionError
        return time.monotonic()

    callers = start(BatchPolicy(max_rows=2))
    first = callers.send(windows(1))
    watched.wait_for_a_run()
    found = [callers.send_and_queue(windows(2, seed)) for seed in range(3)]
    found.append(callers.send_and_queue(windows(1), Deadline(TEST_TIMEOUT_S, clock)))
    watched.may_run.set()
    answer(first)
    for one in found:
        with pytest.raises(NotReadyError):
            answer(one)
    with pytest.raises(NotReadyError):
        callers.batcher.run(windows(1))["embeddings"]
    assert "a batch worker died" in caplog.text


def test_run_for_a_client_that_left_is_dropped_before_it_costs_a_run(
    watched: WatchedSession, start: Callable[[BatchPolicy], Callers]
):
    callers = start(BatchPolicy(max_rows=16))
    first = callers.send(windows(1, 100))
    watched.wait_for_a_run()
    deadline = Deadline(TEST_TIMEOUT_S)
    left, stayed = callers.send_and_queue(windows(4, 1), deadline), callers.send_and_queue(windows(2, 2))
    deadline.cancel()
    watched.may_run.set()
    with pytest.raises(ClientGoneError):
        answer(left)
    np.testing.assert_allclose(answer(stayed), expected(windows(2, 2)), rtol=1e-4, atol=1e-4)
    answer(first)
    assert watched.sizes == [1, 2]
    assert not any(watched.saw(row) for row in windows(4, 1))
    assert callers.batcher.counts().dropped == {"client_gone": 1}
    with pytest.raises(ClientGoneError):
        answer(callers.send(windows(1), deadline))
    assert len(watched.runs) == 2


def test_run_of_a_long_clip_whose_client_left_stops_after_the_run_it_is_in(
    watched: WatchedSession, start: Callable[[BatchPolicy], Callers]
):
    callers = start(BatchPolicy(max_rows=4))
    deadline = Deadline(TEST_TIMEOUT_S)
    left = callers.send(windows(40), deadline)
    watched.wait_for_a_run()
    deadline.cancel()
    watched.may_run.set()
    with pytest.raises(ClientGoneError):
        answer(left)
    answer(callers.send(windows(1)))
    assert watched.sizes == [4, 1]


def test_run_whose_deadline_passes_in_the_queue_is_dropped_before_it_costs_a_run(
    watched: WatchedSession, start: Callable[[BatchPolicy], Callers]
):
    now = 0.0
    callers = start(BatchPolicy(max_rows=16))
    first = callers.send(windows(1, 100))
    watched.wait_for_a_run()
    late = callers.send_and_queue(windows(4, 1), Deadline(10.0, lambda: now))
    in_time = callers.send_and_queue(windows(2, 2), Deadline(11.0, lambda: now))
    now = 10.5
    watched.may_run.set()
    with pytest.raises(DeadlinePassedError, match="within 10 s"):
        answer(late)
    np.testing.assert_allclose(answer(in_time), expected(windows(2, 2)), rtol=1e-4, atol=1e-4)
    answer(first)
    assert watched.sizes == [1, 2]
    assert callers.batcher.counts().dropped == {"deadline": 1}


def test_run_while_a_run_hangs_returns_at_the_deadline(
    watched: WatchedSession, start: Callable[[BatchPolicy], Callers]
):
    callers = start(BatchPolicy(max_rows=16))
    found = callers.send(windows(1), Deadline(0.05))
    watched.wait_for_a_run()
    waiting = callers.send(windows(1), Deadline(0.05))
    for one in (found, waiting):
        with pytest.raises(DeadlinePassedError):
            answer(one)
    assert not watched.may_run.is_set()


def test_run_beyond_the_queue_is_refused_and_those_in_it_are_answered(
    watched: WatchedSession, start: Callable[[BatchPolicy], Callers]
):
    callers = start(BatchPolicy(max_rows=4, max_queued_rows=6))
    first = callers.send(windows(1))
    watched.wait_for_a_run()
    waiting = [callers.send_and_queue(windows(3, seed)) for seed in range(2)]
    for rows in (1, 2, 50):
        with pytest.raises(OverloadedError):
            callers.batcher.run(windows(rows))["embeddings"]
    assert callers.batcher.counts().dropped == {"overloaded": 3}
    watched.may_run.set()
    for seed, found in enumerate(waiting):
        np.testing.assert_allclose(answer(found), expected(windows(3, seed)), rtol=1e-4, atol=1e-4)
    answer(first)
    # what is larger than the whole queue is taken when nothing waits
    np.testing.assert_allclose(answer(callers.send(windows(20))), expected(windows(20)), rtol=1e-4, atol=1e-4)


def test_run_while_another_account_fills_the_queue_finds_room(watched: WatchedSession, start: Callable[..., Callers]):
    callers = start(BatchPolicy(max_rows=4, max_queued_rows=16))
    many, single = Account("many"), Account("single")
    first = callers.send(windows(1), account=many)
    watched.wait_for_a_run()
    waiting = [callers.send_and_queue(windows(4, seed), account=many) for seed in range(4)]
    with working_as(many), pytest.raises(OverloadedError):
        callers.batcher.run(windows(1))
    found = callers.send_and_queue(windows(1, 9), account=single)
    watched.may_run.set()
    np.testing.assert_allclose(answer(found), expected(windows(1, 9)), rtol=1e-4, atol=1e-4)
    for one in (first, *waiting):
        answer(one)


def test_close_fails_those_who_wait_answers_those_in_a_run_and_leaves_no_thread(
    watched: WatchedSession, start: Callable[[BatchPolicy], Callers]
):
    callers = start(BatchPolicy(max_rows=4))
    running = callers.send(windows(1))
    watched.wait_for_a_run()
    waiting = callers.send_and_queue(windows(2))
    closing = callers.pool.submit(callers.batcher.close)
    with pytest.raises(NotReadyError):
        answer(waiting)
    watched.may_run.set()
    np.testing.assert_allclose(answer(running), expected(windows(1)), rtol=1e-4, atol=1e-4)
    closing.result(TEST_TIMEOUT_S)
    callers.batcher.close()
    with pytest.raises(NotReadyError):
        callers.batcher.run(windows(1))["embeddings"]


def test_close_leaves_no_thread(ort: OrtSession):
    before = set(threading.enumerate())
    batcher = Batcher(ort, BatchPolicy(workers=3))
    assert len(set(threading.enumerate()) - before) == 3
    batcher.close()
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("name", ["voice", "face"])
def test_run_by_the_default_bundles_in_one_batch_equals_batch_1(name: str):
    folder = ROOT / "models" / name
    if not (folder / "model.onnx").exists():
        pytest.skip(f"{folder} is not built; `matchka-export defaults` builds it")
    rng = np.random.default_rng(3)
    voice = name == "voice"
    shape = (25840,) if voice else (150, 150, 3)
    if voice:
        rows = rng.normal(0, 0.03, (9, *shape)).astype(np.float32)
    else:
        rows = rng.integers(0, 256, (9, *shape), dtype=np.uint8)
    full_dim = 256 if voice else 128
    kind = ("windows", "float32") if voice else ("chips", "uint8")
    session = OrtSession(folder / "model.onnx", kind[0], shape, {"embeddings": (full_dim,)}, 1, kind[1])
    batcher = Batcher(session, BatchPolicy(max_rows=16))
    together = batcher.run(rows)["embeddings"]
    batcher.close()
    for row, found in zip(rows, together, strict=True):
        np.testing.assert_allclose(found, session.run(row[None])["embeddings"][0], rtol=0, atol=1e-5)
