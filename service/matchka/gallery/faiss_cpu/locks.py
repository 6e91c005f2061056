"""Readers-writer lock."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Condition, Lock


class SharedLock:
    """Readers never wait for each other; a writer waits for those inside, and those who come after wait for it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._condition = Condition(self._lock)
        self._readers = 0
        self._waiting_writers = 0
        self._shared = _Shared(self)  # one for all: to make one takes as long as the rest

    def shared(self) -> AbstractContextManager[None]:
        """Hold the lock beside other readers."""
        return self._shared

    def enter(self) -> None:
        """Come in as a reader."""
        with self._lock:
            # without this, readers who overlap for ever would keep a writer out for ever
            if self._waiting_writers:
                self._condition.wait_for(lambda: not self._waiting_writers)
            self._readers += 1

    def leave(self) -> None:
        """Go as a reader."""
        with self._lock:
            self._readers -= 1
            if self._waiting_writers and not self._readers:
                self._condition.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock alone; not to be taken by a thread that holds it shared."""
        with self._lock:
            self._waiting_writers += 1
            self._condition.wait_for(lambda: not self._readers)
            try:
                yield  # the condition's own lock keeps everyone else out
            finally:
                self._waiting_writers -= 1
                self._condition.notify_all()


class _Shared(AbstractContextManager[None]):
    """The lock as a reader holds it; any number of threads may at once."""

    def __init__(self, lock: SharedLock) -> None:
        self._of = lock

    def __enter__(self) -> None:
        self._of.enter()

    def __exit__(self, *_: object) -> None:
        self._of.leave()
