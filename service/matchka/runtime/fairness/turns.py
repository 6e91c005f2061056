"""Turns at reading files: as many at once as there are cores, handed out fairly among accounts."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Final

from matchka.runtime.deadline import Deadline, current_deadline
from matchka.runtime.fairness.account import Account, current_account
from matchka.runtime.fairness.shares import FairClock

KEPT_S: Final = 1.0  # since a short turn was asked for: so long is half of the turns kept for the next
SHORT_S: Final = 0.15  # of one core: a clip of 20 s, or a picture of 7 million pixels, takes no longer


@dataclass(eq=False)
class _Waiter:
    account: Account
    cost_s: float
    deadline: Deadline
    called: Event = field(default_factory=Event)
    turn: "Turn | None" = None

    @property
    def is_short(self) -> bool:
        return self.cost_s <= SHORT_S


class Turn:
    """One turn, until it is given back."""

    def __init__(self, turns: "Turns", account: Account, cost_s: float, began: float) -> None:
        self.account = account
        self.cost_s = cost_s
        self.began = began
        self._turns = turns
        self._is_over = False

    @property
    def is_short(self) -> bool:
        """Whether it was said to take no longer than a single ordinary sample."""
        return self.cost_s <= SHORT_S

    def give_back(self) -> None:
        """End it. Not an error when repeated."""
        if not self._is_over:
            self._is_over = True
            self._turns._end(self)


class Turns:
    """Bounds how many files are read at once, and says whose is next. Safe to call from threads.

    A file is one turn, so that a request of many never keeps others waiting for longer than one of its files. Accounts
    are given equal time for equal weights (FairClock): each turn is charged with what it is said to take when it
    begins, and with what it took when it ends. While short turns are asked for, long ones leave them half of the
    turns, and where there is but one, a short turn may run beside it: a single sample waits for no large file to end.

    Args:
        turns: at once, >= 1.
        clock: monotonic seconds.
    """

    def __init__(self, turns: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._turns = turns
        self._clock = clock
        self._lock = Lock()  # guards what follows
        self._fair = FairClock()
        self._waiting: list[_Waiter] = []  # in the order of their coming
        self._held = self._long_held = 0
        self._short_asked = -math.inf  # when

    @contextmanager
    def taking(self, cost_s: float) -> Iterator[Turn]:
        """Wait for a turn, and have it until the end of the block or until it is given back.

        Args: cost_s: seconds of one core that it is likely to take, >= 0.

        Raises: ClientGoneError, DeadlinePassedError: the request was given up before it came.
        """
        turn = self._wait(_Waiter(current_account(), cost_s, current_deadline()))
        try:
            yield turn
        finally:
            turn.give_back()

    def keep_share(self) -> bool:
        """Whether short turns are asked for, so that long work should leave them some of the cores."""
        return self._clock() - self._short_asked < KEPT_S

    def _wait(self, waiter: _Waiter) -> Turn:
        with self._lock:
            if waiter.is_short:
                self._short_asked = self._clock()
            self._waiting.append(waiter)
            self._hand_out()
        waiter.called.wait(waiter.deadline.remaining_s)
        with self._lock:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
        try:
            waiter.deadline.require()
        except BaseException:
            if waiter.turn is not None:
                waiter.turn.give_back()
            raise
        if waiter.turn is None:
            raise RuntimeError("a waiter is called with a turn, or when its request is given up")
        return waiter.turn

    def _hand_out(self) -> None:
        """Call those whose turn it is, and those whose requests were given up."""
        for waiter in [waiter for waiter in self._waiting if waiter.deadline.cancellation is not None]:
            self._waiting.remove(waiter)
            waiter.called.set()
        while eligible := [waiter for waiter in self._waiting if self._has_turn(waiter)]:
            account = self._fair.first(
                (waiter.account for waiter in self._waiting), (waiter.account for waiter in eligible)
            )
            waiter = next(waiter for waiter in eligible if waiter.account == account)
            self._waiting.remove(waiter)
            self._fair.charge(account, waiter.cost_s)
            self._held += 1
            self._long_held += not waiter.is_short
            waiter.turn = Turn(self, account, waiter.cost_s, self._clock())
            waiter.called.set()

    def _has_turn(self, waiter: _Waiter) -> bool:
        kept = self._turns // 2 if self.keep_share() else 0
        if waiter.is_short:
            return self._held < max(self._turns, 1 + self._long_held)
        return self._held < self._turns and self._long_held < self._turns - kept

    def _end(self, turn: Turn) -> None:
        with self._lock:
            self._fair.charge(turn.account, self._clock() - turn.began - turn.cost_s)
            self._held -= 1
            self._long_held -= not turn.is_short
            self._hand_out()
