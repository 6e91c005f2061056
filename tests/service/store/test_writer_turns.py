"""Turns at writing: in order, no more than there are, and none for whoever nobody waits for."""

import threading
import time

import pytest

from matchka.errors import DeadlinePassedError
from matchka.runtime.deadline import Deadline, working_for
from matchka.store.writer_turns import WriterTurns

PATIENCE_S = 60.0


def waiting(turns: WriterTurns, count: int) -> None:
    """Wait until so many wait."""
    end = time.monotonic() + PATIENCE_S
    while len(turns._waiting) < count:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_turns_are_taken_in_the_order_in_which_they_were_asked_for():
    turns, order = WriterTurns(1), list[int]()

    def take(number: int) -> None:
        with turns.turn():
            order.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    with turns.turn():
        for number, thread in enumerate(threads):
            thread.start()
            waiting(turns, number + 1)
    for thread in threads:
        thread.join()
    assert order == list(range(8))


def test_no_more_hold_a_turn_than_there_are():
    turns, lock = WriterTurns(3), threading.Lock()
    inside = most = 0

    def take() -> None:
        nonlocal inside, most
        for _ in range(50):
            with turns.turn():
                with lock:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0)
                with lock:
                    inside -= 1

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most <= 3, inside) == (True, 0)


def test_whoever_waits_beyond_the_deadline_leaves_and_the_others_go_on():
    turns = WriterTurns(1)
    with turns.turn(), working_for(Deadline(0.02)), pytest.raises(DeadlinePassedError), turns.turn():
        pass
    assert not turns._waiting
    with turns.turn():
        pass


def test_turn_that_comes_after_the_deadline_is_given_back_unused():
    deadline = Deadline()
    turns = WriterTurns(1)
    with working_for(deadline):
        deadline._ends_at = 0.0
        with pytest.raises(DeadlinePassedError), turns.turn():
            pass
    with turns.turn():
        pass
