"""Processes that decrypt while a large gallery is filled: one interpreter decrypts on one core only.

    python -m matchka.store.vault.unsealing

reads batches from its input and writes what they hold to its output, both pickled, until its input ends: it ends with
the process that started it, however that ends.
"""

import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import IO, Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from matchka.store.vault.sealed import WrappedKey, unseal_all

MOST_PROCESSES: Final = 2  # as many as one thread that reads can keep busy
WORTH_BATCHES: Final = 32  # a process takes a quarter of a second to start: as long as decrypting this many

PIPE_BYTES: Final = 1 << 20  # of Linux's pipes, which hold 64 KiB by default
LENGTH_BYTES: Final = 8
LOGGER: Final = logging.getLogger("matchka.store")

Worker = subprocess.Popen[bytes]


@dataclass(frozen=True)
class SealedBatch:
    """Encrypted embeddings, what they are bound to, their wrapped keys and their tenants' keys."""

    sealed: Sequence[bytes]
    bindings: Sequence[bytes]
    keys: dict[bytes, WrappedKey]
    secrets: dict[int, bytes]

    def open(self) -> list[bytes]:
        """The embeddings. Raises: InvalidTag: one is not what was written."""
        wrapping = {number: AESGCM(secret) for number, secret in self.secrets.items()}
        return unseal_all(self.sealed, self.bindings, self.keys, wrapping)


class Unsealing:
    """Opens batches, in this process at first and in others where there are many.

    Args: stack: what ends with the filling.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._batches = 0
        self._threads: ThreadPoolExecutor | None = None
        self._idle: SimpleQueue[Worker] = SimpleQueue()

    def begin(self, batch: SealedBatch) -> Callable[[], list[bytes]]:
        """Begin to open a batch. Returns: what waits for it; it raises what SealedBatch.open() raises."""
        self._batches += 1
        if self._batches == WORTH_BATCHES + 1:
            self._threads = self._started()
        return batch.open if self._threads is None else self._threads.submit(self._elsewhere, batch).result

    def _started(self) -> ThreadPoolExecutor | None:
        """A thread for each process that could be started; None where none could."""
        count = 0
        try:
            for _ in range(min(MOST_PROCESSES, _cores() - 1)):
                self._idle.put(self._stack.enter_context(_running()))
                count += 1
        except OSError as error:  # no memory, or no more processes: the gallery is filled all the same
            LOGGER.warning("only %d processes that decrypt could be started: %s", count, error)
        return self._stack.enter_context(ThreadPoolExecutor(count, thread_name_prefix="unseal")) if count else None

    def _elsewhere(self, batch: SealedBatch) -> list[bytes]:
        worker = self._idle.get()
        try:
            opened = _ask(worker, batch)
        except (OSError, EOFError, pickle.UnpicklingError):
            opened = None  # the process is gone; so are those after it, and this one does it all
        finally:
            self._idle.put(worker)
        return batch.open() if opened is None else opened


@contextmanager
def unsealing() -> Iterator[Unsealing]:
    """Opens batches until the end of the block, by when all that were begun are opened."""
    with ExitStack() as stack:
        yield Unsealing(stack)


def _ask(worker: Worker, batch: SealedBatch) -> list[bytes] | None:
    """What a process makes of a batch; None where it cannot open it, and this one is to say why."""
    if worker.stdin is None or worker.stdout is None:
        return None
    _send(worker.stdin, (batch.sealed, batch.bindings, batch.keys, batch.secrets))
    opened: list[bytes] | None = _received(worker.stdout)
    return opened


@contextmanager
def _running() -> Iterator[Worker]:
    # -P: it gets tenants' keys, so nothing is imported from the working directory, where others may write
    worker = subprocess.Popen(  # noqa: S603 - this module
        [sys.executable, "-P", "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pipesize=PIPE_BYTES
    )
    try:
        yield worker
    finally:
        for pipe in (worker.stdin, worker.stdout):
            if pipe is not None:
                with suppress(OSError):  # it was killed
                    pipe.close()
        worker.wait()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _send(pipe: IO[bytes], what: object) -> None:
    """Write an object with its length before it, so that it is read at once: each read may wait for the interpreter."""
    data = pickle.dumps(what, pickle.HIGHEST_PROTOCOL)
    pipe.write(len(data).to_bytes(LENGTH_BYTES))
    pipe.write(data)
    pipe.flush()


def _received(pipe: IO[bytes]) -> Any:
    length = pipe.read(LENGTH_BYTES)
    if len(length) < LENGTH_BYTES:
        raise EOFError
    return pickle.loads(pipe.read(int.from_bytes(length)))  # noqa: S301 - between a process and its parent


def work(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Open batches until there are no more."""
    while True:
        try:
            parts: tuple[Any, ...] = _received(requests)
        except EOFError:
            return
        try:
            opened: list[bytes] | None = SealedBatch(*parts).open()
        except InvalidTag:
            opened = None
        _send(answers, opened)


if __name__ == "__main__":
    work(sys.stdin.buffer, sys.stdout.buffer)
