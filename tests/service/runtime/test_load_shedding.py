"""The wait that is foretold, against a queue that is played through with a clock of its own."""

import heapq
import random
from contextlib import ExitStack

import pytest
from starlette.requests import ClientDisconnect

from matchka.errors import DeadlinePassedError, OverloadedError, SilenceError
from matchka.runtime.fairness.account import ANONYMOUS, Account
from matchka.runtime.load_shedding import LoadShedder


def play(
    load_shedder: LoadShedder, now: list[float], arrivals: list[float], work_s: list[float], workers: int
) -> tuple[list[float], int]:
    """Let requests arrive at a queue of workers in the order of arrival; each that is let in leaves when it is done.

    Returns: the times to an answer of those let in after the first sixth of the time, and how many were refused.
    """
    free_at = [0.0] * workers
    leaving: list[tuple[float, int]] = []
    inside = {}
    times: list[float] = []
    refused = 0
    for number, (arrival, work) in enumerate(zip(arrivals, work_s, strict=True)):
        while leaving and leaving[0][0] <= arrival:
            now[0], ended = heapq.heappop(leaving)
            inside.pop(ended).__exit__(None, None, None)
        now[0] = arrival
        context = load_shedder.at_work()
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
            times.append(begins + work - arrival)
    for end, ended in sorted(leaving):
        now[0] = end
        inside.pop(ended).__exit__(None, None, None)
    return times, refused


def fail(load_shedder: LoadShedder, now: list[float], seconds: float, error: Exception) -> None:
    with load_shedder.at_work():
        now[0] += seconds
        raise error


@pytest.mark.parametrize("workers", [1, 2, 16])
@pytest.mark.parametrize("load", [1.5, 5.0, 20.0])
def test_overloaded_queue_keeps_its_answers_below_the_bound_and_stays_busy(workers: int, load: float):
    rng = random.Random(workers)
    now = [0.0]
    count = round(600 * load * workers)
    work_s = [rng.expovariate(1.0) for _ in range(count)]
    arrivals = [n / (load * workers) for n in range(count)]
    times, refused = play(LoadShedder(15.0, lambda: now[0]), now, arrivals, work_s, workers)
    assert sorted(times)[int(0.95 * len(times))] < 2 * 15.0
    assert refused > 0
    assert len(times) >= 0.8 * 500 * workers, "as many are let in as can be worked on"


def test_queue_below_its_capacity_refuses_nobody():
    rng = random.Random(3)
    now = [0.0]
    work_s = [rng.expovariate(1.0) for _ in range(3000)]
    arrivals = [n / (0.7 * 4) for n in range(3000)]
    times, refused = play(LoadShedder(15.0, lambda: now[0]), now, arrivals, work_s, 4)
    assert (len(times), refused) == (2500, 0)


def test_time_without_work_is_no_part_of_the_time_for_a_sample():
    now = [0.0]
    load_shedder = LoadShedder(1.0, lambda: now[0])
    for _ in range(200):
        now[0] += 100.0
        with load_shedder.at_work():
            now[0] += 0.01
    assert load_shedder.expected_s(1) == pytest.approx(0.01, rel=0.01)


def test_samples_of_one_request_count_each():
    now = [0.0]
    load_shedder = LoadShedder(10.0, lambda: now[0])
    for _ in range(10):
        with load_shedder.at_work(32):
            now[0] += 6.4
    assert load_shedder.expected_s(1) == pytest.approx(0.2, rel=0.01)
    with load_shedder.at_work(32):
        load_shedder.require_room(18)  # 50 samples of 0.2 s
        with pytest.raises(OverloadedError, match="32 samples"):
            load_shedder.require_room(19)


def test_request_that_comes_alone_is_never_refused():
    now = [0.0]
    load_shedder = LoadShedder(1.0, lambda: now[0])
    for _ in range(3):
        with load_shedder.at_work(32):
            now[0] += 29.0


def test_time_in_which_nothing_was_answered_closes_the_door_and_answers_open_it_again():
    now = [0.0]
    load_shedder = LoadShedder(15.0, lambda: now[0])
    with pytest.raises(DeadlinePassedError):
        fail(load_shedder, now, 30.0, DeadlinePassedError("too late", remedy="Try again."))
    with load_shedder.at_work(), pytest.raises(OverloadedError):
        load_shedder.require_room()
    needed = 0
    while load_shedder.expected_s(1) > 0.1:
        needed += 1
        with load_shedder.at_work():
            now[0] += 0.01
    assert needed < 150  # a second and a half of such answers


def test_client_that_left_teaches_nothing():
    now = [0.0]
    load_shedder = LoadShedder(15.0, lambda: now[0])
    before = load_shedder.expected_s(1)
    with pytest.raises(ClientDisconnect):
        fail(load_shedder, now, 20.0, ClientDisconnect())
    assert load_shedder.expected_s(1) == before


def test_refused_sample_was_work_too():
    now = [0.0]
    load_shedder = LoadShedder(15.0, lambda: now[0])
    for _ in range(60):
        with pytest.raises(SilenceError):
            fail(load_shedder, now, 1.0, SilenceError("silent", remedy="Speak."))
    assert load_shedder.expected_s(1) == pytest.approx(1.0, rel=0.01)


def test_flood_from_the_first_moment_lets_in_what_the_first_guess_allows():
    load_shedder = LoadShedder(15.0, lambda: 0.0)
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(load_shedder.at_work(32))
        with pytest.raises(OverloadedError):
            load_shedder.require_room(32 * 5)


def test_require_room_when_so_few_samples_are_at_work_takes_them_however_long_they_take():
    now = [0.0]
    load_shedder = LoadShedder(1.0, lambda: now[0], always_taken=3)
    with load_shedder.at_work():
        now[0] += 10.0  # one sample took ten seconds
    with load_shedder.at_work(), load_shedder.at_work():
        assert load_shedder.expected_s(1) > 1.0
        load_shedder.require_room(1)
        with pytest.raises(OverloadedError):
            load_shedder.require_room(2)


def test_expected_s_of_one_account_counts_of_the_others_no_more_than_is_done_meanwhile():
    load_shedder = LoadShedder(15.0, lambda: 0.0)
    busy, other, heavy = Account("busy"), Account("other"), Account("heavy", weight=3.0)
    with load_shedder.at_work(500, busy), load_shedder.at_work(2, other):
        sample_s = load_shedder.expected_s(1, ANONYMOUS) / 3
        assert load_shedder.expected_s(1, other) == pytest.approx(6 * sample_s)  # its 3, and as many of the busy one's
        assert load_shedder.expected_s(8, heavy) == pytest.approx((8 + 8 / 3 + 2) * sample_s)
        assert load_shedder.expected_s(0, busy) == pytest.approx(502 * sample_s)


def test_expected_s_of_one_tenant_counts_many_accounts_of_another_as_one():
    load_shedder = LoadShedder(15.0, lambda: 0.0)
    with ExitStack() as stack:
        for number in range(40):
            stack.enter_context(load_shedder.at_work(10, Account(str(number), tenant="many")))
        sample_s = load_shedder.expected_s(1, Account("new", tenant="few")) / 2
        stack.enter_context(load_shedder.at_work(3, Account("own", tenant="few")))
        assert load_shedder.expected_s(2, Account("new", tenant="few")) == pytest.approx((2 + 2 + 4) * sample_s)
        assert load_shedder.expected_s(1, Account("new", tenant="many")) == pytest.approx((1 + 40 + 3) * sample_s)


def test_require_room_while_another_account_has_far_too_much_at_work_lets_in():
    now = [0.0]
    load_shedder = LoadShedder(15.0, lambda: now[0], always_taken=3)
    busy, other = Account("busy"), Account("other")
    with pytest.raises(DeadlinePassedError):
        fail(load_shedder, now, 30.0, DeadlinePassedError("too late", remedy="Try again."))
    with load_shedder.at_work(64, busy):
        with pytest.raises(OverloadedError):
            load_shedder.require_room(1, busy)
        with load_shedder.at_work(2, other):
            load_shedder.require_room(1, other)
            with pytest.raises(OverloadedError):
                load_shedder.require_room(2, other)
