"""Readers-writer lock."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Lock


class SharedLock:
    """Readers never wait for each other; a writer waits for those inside, and those who come after wait for it."""

    def __init__(self) -> None:
        self._condition = Condition(Lock())
        self._readers = 0
        self._waiting_writers = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock beside other readers."""
        with self._condition:
            # without this, readers who overlap for ever would keep a writer out for ever
            self._condition.wait_for(lambda: not self._waiting_writers)
            self._readers += 1
        try:
            yield
        finally:
            with self._condition:
                self._readers -= 1
                if not self._readers:
                    self._condition.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock alone; not to be taken by a thread that holds it shared."""
        with self._condition:
            self._waiting_writers += 1
            self._condition.wait_for(lambda: not self._readers)
            try:
                yield  # the condition's own lock keeps everyone else out
            finally:
                self._waiting_writers -= 1
                self._condition.notify_all()
