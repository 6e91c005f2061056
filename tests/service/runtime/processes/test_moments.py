"""Moments by name: of one process, and of several that change the same ones at the same time."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from matchka.cli.serving.processes import InheritedFiles
from matchka.runtime.processes.moments import NEVER, PLACES, Moments, OwnMoments, SharedMoments, shared_file

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is one process on Windows")

CHANGES = 2_000


@pytest.fixture(params=[OwnMoments, lambda: SharedMoments(shared_file())], ids=["own", "shared"])
def moments(request: pytest.FixtureRequest) -> Moments:
    made: Moments = request.param()
    return made


def one_more(moment: float) -> float:
    return max(moment, 0.0) + 1.0


def count_up(files: InheritedFiles, name: str) -> None:
    shared = SharedMoments(files.files[0])
    for _ in range(CHANGES):
        shared.change(name, one_more)


def die_inside(files: InheritedFiles) -> None:
    SharedMoments(files.files[0]).change("key", lambda _: os.kill(os.getpid(), signal.SIGKILL) or 0.0)


def in_process(target: Callable[..., None], *arguments: object) -> multiprocessing.Process:
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    process.start()
    return process  # type: ignore[return-value]


def test_names_have_moments_of_their_own_and_nothing_is_known_of_others(moments: Moments):
    assert moments.change("a", one_more) == NEVER
    assert moments.change("b", lambda _: 7.5) == NEVER
    assert moments.change("a", one_more) == 1.0
    assert moments.change("a", lambda moment: moment) == 2.0
    assert moments.change("b", lambda moment: moment) == 7.5


def test_name_whose_step_keeps_nothing_stays_unknown(moments: Moments):
    moments.change("a", lambda moment: moment)
    assert moments.change("a", one_more) == NEVER


def test_threads_lose_no_change_of_each_other(moments: Moments):
    threads = [
        threading.Thread(target=lambda: [moments.change("key", one_more) for _ in range(CHANGES)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert moments.change("key", lambda moment: moment) == 4 * CHANGES


def test_own_moments_beyond_the_bound_forget_the_one_changed_longest_ago():
    moments = OwnMoments(2)
    for name in ("a", "b", "a", "c"):
        moments.change(name, one_more)
    assert moments.change("a", lambda moment: moment) == 2.0
    assert moments.change("b", lambda moment: moment) == NEVER


def test_shared_moments_of_many_names_forget_the_earliest():
    """Of so many names most have no room; the one that is always the latest keeps its place."""
    shared = SharedMoments(shared_file())
    for number in range(2 * PLACES):
        shared.change(f"name {number}", lambda _, number=number: float(number))
        assert shared.change("latest", lambda _, number=number: float(PLACES * 4 + number)) in (
            NEVER if number == 0 else float(PLACES * 4 + number - 1),
        )


@pytest.mark.slow
def test_processes_lose_no_change_of_each_other():
    file = shared_file()
    processes = [in_process(count_up, InheritedFiles((file,)), "key") for _ in range(3)]
    for process in processes:
        process.join()
    assert SharedMoments(file).change("key", lambda moment: moment) == 3 * CHANGES


@pytest.mark.slow
def test_process_that_is_killed_while_it_changes_a_moment_keeps_nobody_from_the_next():
    file = shared_file()
    process = in_process(die_inside, InheritedFiles((file,)))
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert SharedMoments(file).change("key", one_more) == NEVER
    assert Path("/proc/locks").read_text().count(f" {process.pid} ") == 0
