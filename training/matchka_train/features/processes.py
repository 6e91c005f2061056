"""One function over many items in several processes, each with one thread, a few items ahead and no more."""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing.connection import wait as wait_for
from typing import Any, Final, Protocol, TypeVar

import torch

from matchka_train.errors import MainModuleError, WorkerLostError

AHEAD: Final = 2  # items that wait or run, for each process: none is idle, and what waits stays small

ItemT_contra = TypeVar("ItemT_contra", contravariant=True)
ResultT_co = TypeVar("ResultT_co", covariant=True)
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Opener(Protocol[ItemT_contra, ResultT_co]):
    """What a process is given to begin with; it is pickled."""

    def open(self) -> Callable[[ItemT_contra], ResultT_co]:
        """The function; each process opens it once, and keeps it."""
        ...


def map_in_processes(
    opener: Opener[ItemT, ResultT], items: Iterable[ItemT], processes: int, preload: str
) -> Iterator[ResultT]:
    """Call a function for each item; results come as they are done, in any order.

    The processes end with the one that started them, however that ends. After an error nothing else is begun, and what
    runs is waited for.

    Args:
        opener: opens the function.
        items: taken as they are needed.
        processes: how many.
        preload: module that they need; imported once for all of them where the system can fork.

    Raises:
        WorkerLostError: a process was ended from outside.
        Exception: what the function raises.
    """
    pickled = pickle.dumps(opener)
    forks = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if forks else "spawn")
    if forks:
        context.set_forkserver_preload([preload])
    pool = ProcessPoolExecutor(processes, context, _begin)
    try:
        waiting: set[Future[Any]] = set()
        for item in items:
            waiting.add(pool.submit(_call, pickled, item))
            if len(waiting) >= AHEAD * processes:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BrokenProcessPool as error:
        raise WorkerLostError(
            f"One of {processes} processes was ended from outside; what was finished is kept and will be used again.",
            value=error,
            remedy="Mend the error that it wrote; if memory ran out, give fewer --workers; run the same command again.",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def require_main_module() -> None:
    """Refuse to begin in a process that is only importing the script which started it: it would wait for itself.

    Raises: MainModuleError.
    """
    # what multiprocessing itself looks at when a process is started; it comes after locks that the parent holds
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise MainModuleError(
            "Each of several processes imports the script that started them, and began it anew.",
            value=getattr(sys.modules.get("__mp_main__"), "__file__", None),
            remedy='Put what the script does under `if __name__ == "__main__":`, or compute with one worker.',
        )


def _begin() -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its processes
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A process whose parent was killed would wait for its next item for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


@lru_cache(maxsize=1)
def _opened(pickled: bytes) -> Callable[[Any], Any]:
    opener: Opener[Any, Any] = pickle.loads(pickled)  # noqa: S301 - the parent's own bytes
    return opener.open()


def _call(pickled: bytes, item: ItemT) -> Any:
    return _opened(pickled)(item)
