"""Turns at writing: handed out in the order in which they are asked for, to no more writers than a database takes."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock
from typing import Final

from matchka.runtime.deadline import current_deadline


class WriterTurns:
    """Lets some writers of one process in at once; whoever has waited longest is next. Safe to call from threads.

    Args: most: at once.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._free = most
        self._waiting: Final[deque[Event]] = deque()
        self._lock = Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold a turn to the end of the block.

        Raises: DeadlinePassedError, ClientGoneError: nobody waits any more for what would be written.
        """
        deadline = current_deadline()
        self._take(deadline.remaining_s)
        try:
            deadline.require()
            yield
        finally:
            self._give_back()

    def _take(self, timeout_s: float | None) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            called = Event()
            self._waiting.append(called)
        if called.wait(timeout_s):
            return
        with self._lock:
            if not called.is_set():
                self._waiting.remove(called)
                raise current_deadline().deadline_error
        # called at the very end: the turn is this one's, and the caller looks at the deadline once more

    def _give_back(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1
