"""The wait that is foretold, against a queue that is played through with a clock of its own."""

import heapq
import random
from contextlib import ExitStack

import pytest

from service.backlog import Backlog
from service.errors import OverloadedError


def play(
    backlog: Backlog, now: list[float], arrivals: list[float], work_s: list[float], workers: int
) -> tuple[list[float], int]:
    """Let requests arrive at a queue of workers in the order of arrival; each that is let in leaves when it is done.

    Returns: the waits of those let in after the first sixth of the time, and how many were refused.
    """
    free_at = [0.0] * workers
    leaving: list[tuple[float, int]] = []
    inside = {}
    waits: list[float] = []
    refused = 0
    for number, (arrival, work) in enumerate(zip(arrivals, work_s, strict=True)):
        while leaving and leaving[0][0] <= arrival:
            now[0], ended = heapq.heappop(leaving)
            inside.pop(ended).__exit__(None, None, None)
        now[0] = arrival
        context = backlog.at_work()
        try:
            context.__enter__()
        except OverloadedError:
            refused += 1
            continue
        begins = max(arrival, heapq.heappop(free_at))
        heapq.heappush(free_at, begins + work)
        heapq.heappush(leaving, (begins + work, number))
        inside[number] = context
        if arrival > arrivals[-1] / 6:
            waits.append(begins - arrival)
    for end, ended in sorted(leaving):
        now[0] = end
        inside.pop(ended).__exit__(None, None, None)
    return waits, refused


@pytest.mark.parametrize("workers", [1, 2, 16])
@pytest.mark.parametrize("load", [1.5, 5.0, 20.0])
def test_overloaded_queue_keeps_its_waits_below_the_bound_and_stays_busy(workers: int, load: float):
    rng = random.Random(workers)
    now = [0.0]
    count = round(600 * load * workers)
    work_s = [rng.expovariate(1.0) for _ in range(count)]
    arrivals = [n / (load * workers) for n in range(count)]
    waits, refused = play(Backlog(15.0, workers, lambda: now[0]), now, arrivals, work_s, workers)
    assert sorted(waits)[int(0.95 * len(waits))] < 2 * 15.0
    assert refused > 0
    assert len(waits) >= 0.8 * 500 * workers, "as many are let in as can be worked on"


def test_queue_below_its_capacity_refuses_nobody():
    rng = random.Random(3)
    now = [0.0]
    work_s = [rng.expovariate(1.0) for _ in range(3000)]
    arrivals = [n / (0.7 * 4) for n in range(3000)]
    waits, refused = play(Backlog(15.0, 4, lambda: now[0]), now, arrivals, work_s, 4)
    assert (len(waits), refused) == (2500, 0)


def test_time_without_work_is_no_part_of_the_time_between_answers():
    now = [0.0]
    backlog = Backlog(1.0, 4, lambda: now[0])
    for _ in range(50):
        now[0] += 100.0
        with backlog.at_work():
            now[0] += 0.01
    contexts = [backlog.at_work() for _ in range(50)]
    for context in contexts:
        context.__enter__()
    assert backlog.expected_wait_s == pytest.approx((50 - 4 + 1) * 0.01, rel=0.01)


def test_one_long_request_does_not_close_the_door():
    now = [0.0]
    backlog = Backlog(15.0, 4, lambda: now[0])
    with backlog.at_work():
        now[0] += 29.0
    backlog.require_room()
    with backlog.at_work(), backlog.at_work():
        now[0] += 0.01


def test_require_room_when_so_few_are_at_work_takes_them_however_long_they_wait():
    now = [0.0]
    backlog = Backlog(1.0, 1, lambda: now[0], always_taken=3)
    with backlog.at_work():
        now[0] = 10.0  # one request took ten seconds
    with ExitStack() as at_work:
        for _ in range(3):
            at_work.enter_context(backlog.at_work())
        assert backlog.expected_wait_s > 1.0
        with pytest.raises(OverloadedError):
            backlog.require_room()
