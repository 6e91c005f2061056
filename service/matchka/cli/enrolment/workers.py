"""Several subjects at once: workers that take one after the other, until all are done or the run ends."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Final, TypeAlias

from matchka.cli.enrolment.outcomes import INTERRUPTED, Outcome
from matchka.cli.enrolment.people_file import Row

POLL_S: Final = 0.2  # between two looks for signals, which a wait without an end would hold up


class _Ended:
    """Says that a worker has nothing more to do."""


_Told: TypeAlias = SimpleQueue[list[Outcome] | BaseException | _Ended]


@contextmanager
def outcomes_of(
    subjects: Iterable[Sequence[Row]],
    enrol: Callable[[Sequence[Row]], Iterator[list[Outcome]]],
    jobs: int,
    stop: threading.Event,
) -> Iterator[Iterator[list[Outcome]]]:
    """What becomes of rows, as it happens. Where whoever reads it fails, what is under way is finished before.

    Args:
        subjects: the rows of each.
        enrol: enrols those of one; called in threads.
        jobs: so many at once, at least 1.
        stop: set where nothing more is to be begun; what is under way is finished.

    Raises: whatever `enrol` raised first, after the others have ended.
    """
    waiting: SimpleQueue[Sequence[Row]] = SimpleQueue()
    for rows in subjects:
        waiting.put(rows)
    told: _Told = SimpleQueue()
    # daemons: whoever interrupts a second time does not wait for them
    workers = [threading.Thread(target=_work, args=(waiting, enrol, told, stop), daemon=True) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    try:
        yield _until_ended(told, jobs)
    except Exception:  # not of who interrupts a second time
        stop.set()
        for worker in workers:
            while worker.is_alive():
                worker.join(POLL_S)
        raise


def _until_ended(told: _Told, running: int) -> Iterator[list[Outcome]]:
    failures: list[BaseException] = []
    while running:
        one = _next(told)
        if isinstance(one, _Ended):
            running -= 1
        elif isinstance(one, BaseException):
            failures.append(one)
        elif one:
            yield one
    for failure in failures:
        raise failure


def _work(
    waiting: SimpleQueue[Sequence[Row]],
    enrol: Callable[[Sequence[Row]], Iterator[list[Outcome]]],
    told: _Told,
    stop: threading.Event,
) -> None:
    try:
        while not stop.is_set():
            for found in enrol(waiting.get_nowait()):
                told.put(found)
    except Empty:  # of who waits
        pass
    except BaseException as error:  # handed to who waits for the outcomes
        stop.set()
        told.put(error)
    told.put(_Ended())


def _next(told: _Told) -> list[Outcome] | BaseException | _Ended:
    """What is told next; nothing where nothing was for a while."""
    try:
        return told.get(timeout=POLL_S)
    except Empty:
        return []


@contextmanager
def interruptible(stop: threading.Event, say: Callable[[str], None]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM finish what is under way; a second one ends at once."""
    if threading.current_thread() is not threading.main_thread():  # where no signals are heard
        yield
        return

    was_interrupted = threading.Event()  # apart from stop, which a worker that fails sets as well

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if was_interrupted.is_set():
            raise SystemExit(INTERRUPTED)
        was_interrupted.set()
        stop.set()
        say("finishing what is under way; Ctrl-C once more ends at once")

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
