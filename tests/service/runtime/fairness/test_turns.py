"""Turns at reading: real threads, with a clock of the test."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from matchka.errors import ClientGoneError, DeadlinePassedError
from matchka.runtime.deadline import Deadline, working_for
from matchka.runtime.fairness.account import ANONYMOUS, Account, current_account, working_as
from matchka.runtime.fairness.turns import KEPT_S, SHORT_S, Turns

TEST_TIMEOUT_S = 60.0
LONG_S = 10 * SHORT_S
ONE, OTHER = Account("one"), Account("other")


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TEST_TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@dataclass
class Readers:
    """Threads that take turns and hold them until they are told to end, each at a time of its own."""

    turns: Turns
    pool: ThreadPoolExecutor
    began: list[str] = field(default_factory=list)
    ends: dict[str, threading.Event] = field(default_factory=dict)
    found: dict[str, Future[None]] = field(default_factory=dict)

    def read(self, name: str, account: Account, cost_s: float, deadline: Deadline | None = None) -> None:
        """Returns when it has begun or waits for its turn."""
        self.ends[name] = threading.Event()
        before = self._began_or_wait()
        self.found[name] = self.pool.submit(self._read, name, account, cost_s, deadline or Deadline())
        until(lambda: self._began_or_wait() > before or self.found[name].done())

    def end(self, name: str) -> None:
        """Returns when its turn is over."""
        self.ends[name].set()
        self.found[name].result(TEST_TIMEOUT_S)

    def _began_or_wait(self) -> int:
        with self.turns._lock:  # whoever comes is among those who wait for a moment, also if his turn is there
            return len(self.began) + len(self.turns._waiting)

    def _read(self, name: str, account: Account, cost_s: float, deadline: Deadline) -> None:
        with working_for(deadline), working_as(account), self.turns.taking(cost_s):
            self.began.append(name)
            assert self.ends[name].wait(TEST_TIMEOUT_S)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(64) as found:
        yield found


def test_turns_of_one_account_are_as_many_as_there_are_and_in_order_of_coming(pool: ThreadPoolExecutor):
    readers = Readers(Turns(2), pool)
    for number in range(5):
        readers.read(str(number), ONE, SHORT_S)
    assert sorted(readers.began) == ["0", "1"]
    for number in range(3):
        readers.end(str(number))
        until(lambda number=number: len(readers.began) == 3 + number)
    assert readers.began[2:] == ["2", "3", "4"]
    for number in (3, 4):
        readers.end(str(number))


def test_turn_of_an_account_that_comes_later_is_before_what_another_has_waiting(pool: ThreadPoolExecutor):
    now = [0.0]
    readers = Readers(Turns(1, lambda: now[0]), pool)
    for number in range(20):
        readers.read(f"many {number}", ONE, SHORT_S)
    readers.read("single", OTHER, SHORT_S)
    now[0] += SHORT_S
    readers.end("many 0")
    until(lambda: len(readers.began) == 2)
    assert readers.began == ["many 0", "single"]
    readers.end("single")
    for number in range(1, 20):
        readers.end(f"many {number}")


def test_turns_are_charged_with_what_they_took_and_not_with_what_they_were_said_to_take(pool: ThreadPoolExecutor):
    """One account says that its files take no time, and they take ten times as long as those of the other."""
    now = [0.0]
    readers = Readers(Turns(1, lambda: now[0]), pool)
    readers.read("blocker", Account("third"), SHORT_S)
    names = [f"{kind} {number}" for number in range(22) for kind in ("liar", "other")]
    for name in names:
        readers.read(name, ONE if name.startswith("liar") else OTHER, 0.0 if name.startswith("liar") else 0.1)
    readers.end("blocker")
    for served in range(22):
        until(lambda served=served: len(readers.began) == served + 2)
        name = readers.began[-1]
        now[0] += 1.0 if name.startswith("liar") else 0.1
        readers.end(name)
    liars = sum(name.startswith("liar") for name in readers.began[1:23])
    assert liars <= 3  # 2 s of 4 s are 2 of its files, and 20 of the other's
    for name in names:
        readers.ends[name].set()
    for name in names:
        readers.found[name].result(TEST_TIMEOUT_S)


def test_long_turns_take_all_while_nothing_short_is_asked_for_and_leave_half_while_something_is(
    pool: ThreadPoolExecutor,
):
    now = [0.0]
    readers = Readers(Turns(4, lambda: now[0]), pool)
    for number in range(6):
        readers.read(f"long {number}", ONE, LONG_S)
    assert len(readers.began) == 4
    readers.read("short", ONE, SHORT_S)  # of the same account: nothing long has to end for it
    assert readers.began[4:] == ["short"]
    for number in range(2):
        readers.end(f"long {number}")
    assert len(readers.began) == 5  # two are held, as many as are kept
    readers.read("short again", OTHER, SHORT_S)
    assert readers.began[5:] == ["short again"]
    now[0] += KEPT_S
    readers.end("short")
    until(lambda: len(readers.began) == 7)
    readers.end("short again")
    until(lambda: len(readers.began) == 8)
    for number in range(2, 6):
        readers.end(f"long {number}")


def test_short_turn_beside_a_long_one_on_one_core_begins_at_once(pool: ThreadPoolExecutor):
    readers = Readers(Turns(1), pool)
    readers.read("long", ONE, LONG_S)
    readers.read("short", OTHER, SHORT_S)
    readers.read("second", OTHER, SHORT_S)
    assert readers.began == ["long", "short"]
    readers.end("short")
    until(lambda: len(readers.began) == 3)
    for name in ("second", "long"):
        readers.end(name)


def test_turn_is_waited_for_no_longer_than_the_deadline_and_not_taken_when_the_client_left(pool: ThreadPoolExecutor):
    readers = Readers(Turns(1), pool)
    readers.read("first", ONE, SHORT_S)
    readers.read("late", ONE, SHORT_S, Deadline(0.02))
    with pytest.raises(DeadlinePassedError):
        readers.found["late"].result(TEST_TIMEOUT_S)
    gone = Deadline()
    readers.read("gone", ONE, SHORT_S, gone)
    gone.cancel()
    readers.end("first")
    with pytest.raises(ClientGoneError):
        readers.found["gone"].result(TEST_TIMEOUT_S)
    readers.read("next", ONE, SHORT_S)
    readers.end("next")
    assert readers.began == ["first", "next"]


def test_turn_that_is_given_back_early_or_ends_by_an_error_is_given_back_once():
    turns = Turns(1)
    with turns.taking(SHORT_S) as turn:
        turn.give_back()
        with turns.taking(SHORT_S):
            pass
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), turns.taking(SHORT_S):
            raise ZeroDivisionError
    assert turns._held == 0


def test_current_account_is_that_of_the_block_and_anonymous_outside():
    assert current_account() == ANONYMOUS
    with working_as(ONE):
        with working_as(OTHER):
            assert current_account() == OTHER
        assert current_account() == ONE
    assert current_account() == ANONYMOUS
