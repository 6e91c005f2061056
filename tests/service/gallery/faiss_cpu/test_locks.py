"""The lock of a block: readers together, a writer alone, and nobody for ever."""

import threading
import time

from matchka.gallery.faiss_cpu.locks import SharedLock

TIMEOUT_S = 120.0  # a thread that hangs fails its test after this long


def test_readers_hold_the_lock_together():
    lock, both_inside = SharedLock(), threading.Barrier(2, timeout=TIMEOUT_S)

    def read() -> None:
        with lock.shared():
            both_inside.wait()

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not both_inside.broken


def test_writers_and_readers_never_see_each_other_inside():
    lock, values = SharedLock(), [0, 0]
    torn: list[list[int]] = []

    def write() -> None:
        for _ in range(200):
            with lock.exclusive():
                values[0] += 1
                time.sleep(0)
                values[1] += 1

    def read() -> None:
        for _ in range(500):
            with lock.shared():
                first = values[0]
                time.sleep(0)
                if first != values[1]:
                    torn.append(list(values))

    threads = [threading.Thread(target=target) for target in (write, write, read, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torn == []
    assert values == [400, 400]


def test_writer_gets_in_although_readers_overlap_for_ever():
    lock, done = SharedLock(), threading.Event()

    def read() -> None:
        while not done.is_set():
            with lock.shared():
                time.sleep(0.002)

    def write() -> None:
        for _ in range(20):
            with lock.exclusive():
                pass

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    writer = threading.Thread(target=write)
    writer.start()
    writer.join(TIMEOUT_S)
    has_written = not writer.is_alive()
    done.set()
    for thread in (*readers, writer):
        thread.join()
    assert has_written
