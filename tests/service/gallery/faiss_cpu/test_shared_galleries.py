"""Galleries whose rows several real processes hold once: each is searched as if it had all of them for itself."""

import errno
import mmap
import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from matchka.cli.serving.processes import InheritedFiles
from matchka.gallery.faiss_cpu.gallery import CpuGallery
from matchka.gallery.faiss_cpu.shared_file import SharedFile
from matchka.gallery.faiss_cpu.shared_galleries import SharedGalleries, SharedOpener
from matchka.gallery.gallery import GallerySpace
from matchka.runtime.processes.moments import gallery_files
from matchka.vectors import FloatArray

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="files in memory are Linux'")

DIM: Final = 32
SPACE: Final = GallerySpace("voice", "1", (), DIM)
KEY: Final = ("a", "voice", "1")
DELAY_S: Final = 15.0
BOUND_S: Final = 60.0
LEAST_BYTES: Final = 16  # of a reference, anywhere in it: four numbers that nobody else has


def drawn(subjects: int, seed: int) -> FloatArray:
    rows = np.random.default_rng(seed).normal(size=(subjects, DIM)).astype(np.float32)
    found: FloatArray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


class Part:
    """What a process of the service does here, told by its parent."""

    def __init__(self, files: InheritedFiles) -> None:
        self.now = 0.0
        self.opener = SharedOpener(1, SharedFile(*files.files), DELAY_S, clock=lambda: self.now)
        self.galleries: SharedGalleries = self.opener.galleries()

    def resume(self) -> str | None:
        self.galleries = self.opener.galleries()
        return self.galleries.resume(SPACE)

    def fill(self, keys: list[int], rows: FloatArray, position: str = "S", *, killed_after: int | None = None) -> None:
        self.galleries.begin(SPACE)
        gallery = self.galleries.of("a", "voice", "1", DIM)
        gallery.put(keys, rows)
        if killed_after is not None:
            self._be_killed_after(killed_after)
        self.galleries.finish(SPACE, position, lambda _: False)

    def begin(self) -> None:
        self.galleries.begin(SPACE)

    def finish(self, position: str) -> None:
        self.galleries.finish(SPACE, position, lambda _: False)

    def put(self, keys: list[int], rows: FloatArray) -> None:
        self.galleries.of("a", "voice", "1", DIM).put(keys, rows)

    def fill_all(self, spaces: list[GallerySpace], given: dict[str, tuple[list[int], FloatArray]], good: str) -> str:
        """As the service fills: what is kept of each space in turn, if its position is good, or else all there is."""
        self.galleries = self.opener.galleries()
        begun, resumed = [], []
        for space in spaces:
            if self.galleries.resume(space) == good:
                resumed.append(space.model)
                continue
            self.galleries.begin(space)
            self.galleries.of("a", space.model, space.version, DIM).put(*given[space.model])
            begun.append(space)
        for space in begun:
            self.galleries.finish(space, good, lambda _: False)
        return ",".join(resumed)

    def search_of(self, model: str, version: str, probe: FloatArray) -> list[int]:
        return [hit.subject_key for hit in self.galleries.of("a", model, version, DIM).search(probe, DIM, 1)]

    def fill_where_there_is_no_memory(self, keys: list[int], rows: FloatArray, writes: int) -> None:
        """The file has no room for what is written after some writes."""
        left, real = [writes], os.pwrite

        def pwrite(*given: Any) -> int:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "no room")
            return real(*given)

        os.pwrite = pwrite  # type: ignore[assignment]
        try:
            self.fill(keys, rows)
        finally:
            os.pwrite = real

    def put_of_another_tenant(self, keys: list[int], rows: FloatArray) -> None:
        self.galleries.of("b", "voice", "1", DIM).put(keys, rows)

    def remove(self, key: int) -> None:
        self.galleries.of("a", "voice", "1", DIM).remove(key)

    def apply(self, changes: list[tuple[int, FloatArray | None]]) -> None:
        for key, row in changes:
            if row is None:
                self.remove(key)
            else:
                self.put([key], row[None, :])

    def search(self, probe: FloatArray, dim: int, top_k: int) -> list[tuple[int, float]]:
        found = self.galleries.of("a", "voice", "1", DIM).search(probe, dim, top_k)
        return [(hit.subject_key, hit.similarity) for hit in found]

    def size(self) -> int:
        return len(self.galleries.of("a", "voice", "1", DIM))

    def look(self, now: float) -> None:
        self.now = now
        self.opener.look()

    def _be_killed_after(self, writes: int) -> None:
        left = [writes]
        real = os.pwrite

        def pwrite(*given: Any) -> int:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*given)

        os.pwrite = pwrite  # type: ignore[assignment]


def run_part(files: InheritedFiles, told: Connection) -> None:
    part = Part(files)
    while True:
        name, given, named = told.recv()
        told.send(getattr(part, name)(*given, **named))


class Process:
    """A real process that holds galleries."""

    def __init__(self, files: tuple[int, ...]) -> None:
        context = multiprocessing.get_context("spawn")
        self._told, its = context.Pipe()
        self.process = context.Process(target=run_part, args=(InheritedFiles(files), its), daemon=True)
        self.process.start()
        its.close()

    def tell(self, name: str, *given: Any, **named: Any) -> None:
        self._told.send((name, given, named))

    def answer(self) -> Any:
        assert self._told.poll(BOUND_S), "the process does not answer"
        return self._told.recv()

    def ask(self, name: str, *given: Any, **named: Any) -> Any:
        self.tell(name, *given, **named)
        return self.answer()

    def is_silent(self, seconds: float) -> bool:
        return not self._told.poll(seconds)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def holds(self, needle: bytes) -> bool:
        """Whether bytes are anywhere in its memory, what it maps of others' included."""
        pid = self.process.pid
        maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            for line in maps:
                start, end, rights = re.match(r"(\w+)-(\w+) (\S+)", line).groups()  # type: ignore[union-attr]
                if rights[0] != "r" or "[v" in line:
                    continue
                memory.seek(int(start, 16))
                try:
                    if needle in memory.read(int(end, 16) - int(start, 16)):
                        return True
                except OSError:  # a page that cannot be read
                    continue
        return False


@contextmanager
def service() -> Iterator[tuple[tuple[int, ...], Callable[[], Process]]]:
    files = gallery_files()
    made: list[Process] = []

    def start() -> Process:
        made.append(Process(files))
        return made[-1]

    try:
        yield files, start
    finally:
        for one in made:
            one.kill()
        for file in files:
            os.close(file)


def file_holds(files: tuple[int, ...], needle: bytes) -> bool:
    length = os.fstat(files[0]).st_size
    with mmap.mmap(files[0], length, prot=mmap.PROT_READ) as mapped:
        return mapped.find(needle) >= 0


def needle_of(row: FloatArray) -> bytes:
    return row[8 : 8 + LEAST_BYTES // 4].tobytes()  # inside the second column


def near(row: FloatArray) -> FloatArray:
    """A probe that finds a row, and has none of its numbers: those of probes stay in memory for a while."""
    found: FloatArray = row + np.float32(0.001)
    return found


def own_gallery(keys: list[int], rows: FloatArray) -> CpuGallery:
    gallery = CpuGallery(DIM)
    gallery.put(keys, rows)
    return gallery


def assert_same(process: Process, truth: dict[int, FloatArray], probes: FloatArray) -> None:
    keys = sorted(truth)
    own = own_gallery(keys, np.stack([truth[key] for key in keys]))
    assert process.ask("size") == len(keys)
    for probe in probes:
        for dim in (8, 16, DIM):
            found = process.ask("search", probe, dim, 7)
            wanted = own.search(probe, dim, 7)
            assert [key for key, _ in found] == [hit.subject_key for hit in wanted]
            assert [round(one, 5) for _, one in found] == [round(hit.similarity, 5) for hit in wanted]


@pytest.mark.parametrize("subjects", [300, 70_000])
def test_search_after_random_changes_in_several_processes_is_that_of_a_gallery_of_its_own(subjects: int):
    rows = drawn(subjects, 1)
    truth = dict(zip(range(1, subjects + 1), rows, strict=True))
    draw = np.random.default_rng(2)
    with service() as (_, start):
        first, second, third = start(), start(), start()
        assert first.ask("resume") is None
        first.ask("fill", list(truth), rows)
        assert [one.ask("resume") for one in (second, third)] == ["S", "S"]
        changes: list[tuple[int, FloatArray | None]] = []
        highest = subjects
        for number in range(400):
            kind = draw.integers(3)
            if kind == 0:
                highest += 1
                changes.append((highest, drawn(1, 1000 + number)[0]))
            else:
                key = int(draw.choice(list(truth)))
                changes.append((key, drawn(1, 1000 + number)[0] if kind == 1 else None))
            key, row = changes[-1]
            truth.pop(key, None)
            if row is not None:
                truth[key] = row
        # the first is far ahead of the second, and rows that were replaced are gone before the third follows
        for one, now in ((first, 100.0), (second, 100.0), (third, 100.0)):
            one.ask("apply", changes)
            one.ask("look", now)
            assert_same(one, truth, drawn(3, 3))
        late = start()
        assert late.ask("resume") == "S"
        late.ask("apply", changes)
        for one in (first, second, third, late):
            assert_same(one, truth, drawn(3, 4))


def test_remove_overwrites_a_subject_in_the_file_and_in_every_process_that_has_followed():
    rows = drawn(2_000, 1)
    gone, needle = 777, needle_of(rows[776])
    with service() as (files, start):
        first, second = start(), start()
        first.ask("resume")
        first.ask("fill", list(range(1, 2_001)), rows)
        second.ask("resume")
        assert file_holds(files, needle)
        assert second.holds(needle)
        first.ask("remove", gone)
        assert not file_holds(files, needle)
        assert gone not in [key for key, _ in first.ask("search", rows[776], DIM, 5)]
        found = second.ask("search", near(rows[776]), DIM, 5)  # has not followed: whatever it says is one who was there
        assert all(1 <= key <= 2_000 for key, _ in found)
        second.ask("remove", gone)
        assert not second.holds(needle)
        assert second.ask("size") == 1_999


def test_put_overwrites_a_replaced_subject_in_the_file_when_others_have_followed():
    rows = drawn(2_000, 1)
    needle = needle_of(rows[776])
    with service() as (files, start):
        first, second = start(), start()
        first.ask("resume")
        first.ask("fill", list(range(1, 2_001)), rows)
        second.ask("resume")
        first.ask("put", [777], drawn(1, 5))
        first.ask("look", DELAY_S - 1)
        assert second.ask("search", near(rows[776]), DIM, 1)[0][0] == 777  # it has not followed, and finds what it had
        second.ask("put", [777], drawn(1, 5))
        first.ask("look", DELAY_S + 1)
        assert not file_holds(files, needle)
        assert not second.holds(needle)
        for one in (first, second):
            assert one.ask("search", drawn(1, 5)[0], DIM, 1)[0][0] == 777


@pytest.mark.parametrize("writes", [0, 4, 5, 7])  # of five columns, then the directory, a count, the header
def test_resume_after_a_process_was_killed_while_it_published_takes_nothing(writes: int):
    rows = drawn(500, 1)
    with service() as (_, start):
        first, second = start(), start()
        first.ask("resume")
        second.tell("resume")
        assert second.is_silent(0.3)  # waits for the first
        first.tell("fill", list(range(1, 501)), rows, killed_after=writes)
        first.process.join(BOUND_S)
        assert first.process.exitcode == -signal.SIGKILL
        assert second.answer() is None
        second.ask("fill", list(range(1, 501)), rows, "T")
        assert_same(second, dict(zip(range(1, 501), rows, strict=True)), drawn(3, 3))
        third = start()
        assert third.ask("resume") == "T"
        assert_same(third, dict(zip(range(1, 501), rows, strict=True)), drawn(3, 3))


def test_begin_after_all_who_used_rows_have_left_them_removes_them():
    rows, others = drawn(2_000, 1), drawn(2_000, 2)
    with service() as (files, start):
        first, second = start(), start()
        first.ask("resume")
        first.ask("fill", list(range(1, 2_001)), rows)
        second.ask("resume")
        assert first.ask("resume") == "S"
        first.ask("fill", list(range(1, 2_001)), others, "T")  # the store is another one; the second uses them still
        assert file_holds(files, needle_of(rows[5]))
        assert second.ask("search", rows[5], DIM, 1)[0][0] == 6
        second.kill()
        first.ask("look", 0.0)
        assert not file_holds(files, needle_of(rows[5]))
        assert_same(first, dict(zip(range(1, 2_001), others, strict=True)), drawn(2, 3))
        third = start()
        assert third.ask("resume") is None
        third.ask("fill", list(range(1, 2_001)), others, "T")
        assert start().ask("resume") == "T"


def test_rows_filled_anew_by_all_are_gone_and_the_last_one_publishes():
    rows, others = drawn(2_000, 1), drawn(2_000, 2)
    with service() as (files, start):
        first, second = start(), start()
        first.ask("resume")
        first.ask("fill", list(range(1, 2_001)), rows)
        second.ask("resume")
        first.ask("resume")
        first.ask("fill", list(range(1, 2_001)), others, "T")
        second.ask("resume")
        second.ask("fill", list(range(1, 2_001)), others, "T")
        assert not file_holds(files, needle_of(rows[5]))
        assert start().ask("resume") == "T"
        for one in (first, second):
            assert_same(one, dict(zip(range(1, 2_001), others, strict=True)), drawn(2, 3))


def test_resume_by_processes_that_all_have_to_fill_anew_takes_what_the_first_of_them_publishes():
    rows, others = drawn(2_000, 1), drawn(2_000, 2)
    with service() as (files, start):
        first, second = start(), start()
        first.ask("resume")
        first.ask("fill", list(range(1, 2_001)), rows)
        second.ask("resume")
        first.ask("resume")
        first.ask("begin")
        second.tell("resume")
        assert second.is_silent(0.3)
        first.ask("put", list(range(1, 2_001)), others)
        first.ask("finish", "T")
        assert second.answer() == "T"
        assert not file_holds(files, needle_of(rows[5]))
        for one in (first, second):
            assert_same(one, dict(zip(range(1, 2_001), others, strict=True)), drawn(2, 3))


def test_resume_after_more_has_changed_than_is_soon_applied_takes_nothing():
    rows = drawn(30_000, 1)
    with service() as (_, start):
        first, second = start(), start()
        first.ask("resume")
        first.ask("fill", [1], rows[:1])
        first.ask("put_of_another_tenant", list(range(1, 20_001)), rows[:20_000])
        first.ask("look", 1.0)
        assert second.ask("resume") == "S"
        first.ask("put_of_another_tenant", [20_001], rows[20_000:20_001])
        first.ask("look", 2.0)
        assert start().ask("resume") is None


def test_a_gallery_that_grows_out_of_its_arrays_leaves_none_of_its_own_numbers_there():
    rows, more = drawn(1_000, 1), drawn(2_000, 2)
    with service() as (_, start):
        first, second = start(), start()
        first.ask("resume")
        first.ask("fill", list(range(1, 1_001)), rows)
        second.ask("resume")
        second.ask("put", [1_001], more[:1])  # the last place but some: written for itself alone
        second.ask("put", list(range(1_002, 3_001)), more[1:])
        for key in range(1, 1_002):
            second.ask("remove", key)
        assert not any(second.holds(needle_of(row)) for row in (rows[3], rows[998]))
        assert second.ask("size") == 1_999


FACE: Final = GallerySpace("face", "1", (), DIM)
NEWER_FACE: Final = GallerySpace("face", "2", (), DIM)
OLDER_FACE: Final = GallerySpace("face", "1", ("2",), DIM)


@pytest.mark.parametrize(
    ("spaces", "resumed"),
    [
        ([SPACE, FACE], "voice,face"),
        ([SPACE, NEWER_FACE], "voice"),  # the rest is this process' own
        ([SPACE, NEWER_FACE, OLDER_FACE], "voice"),
        ([NEWER_FACE, SPACE], ""),
        ([SPACE], "voice"),  # a model that is served no more
    ],
)
def test_process_that_serves_other_models_than_were_published_finds_everybody(spaces: list[GallerySpace], resumed: str):
    voices, faces = drawn(500, 1), drawn(500, 2)
    given = {"voice": (list(range(1, 501)), voices), "face": (list(range(1, 501)), faces)}
    with service() as (files, start):
        first, second = start(), start()
        assert first.ask("fill_all", [SPACE, FACE], given, "S") == ""
        assert second.ask("fill_all", spaces, given, "S") == resumed
        for space in spaces:
            of = given[space.model][1]
            assert second.ask("search_of", space.model, space.version, of[41]) == [42]
        assert first.ask("search_of", "face", "1", faces[41]) == [42]
        second.ask("remove", 42)
        if resumed:
            assert not file_holds(files, needle_of(voices[41]))
        third = start()
        assert third.ask("fill_all", [SPACE, FACE], given, "S") == "voice,face"


@pytest.mark.parametrize("writes", range(8))
def test_removal_after_publishing_failed_leaves_nothing_in_the_file(writes: int):
    rows = drawn(70_000, 1)  # two blocks, of five columns each
    with service() as (files, start):
        first, second = start(), start()
        first.ask("resume")
        first.ask("fill_where_there_is_no_memory", list(range(1, 70_001)), rows, writes)
        truth = dict(zip(range(1, 70_001), rows, strict=True))
        for key in (42, 69_999):
            first.ask("remove", key)
            del truth[key]
            assert not file_holds(files, needle_of(rows[key - 1]))
        assert_same(first, truth, drawn(2, 3))
        assert second.ask("resume") is None
        second.ask("fill", list(truth), np.stack(list(truth.values())), "T")
        assert_same(second, truth, drawn(2, 3))


def test_wait_for_who_fills_ends_and_what_is_filled_then_is_for_the_process_alone(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    with service() as (files, start):
        first = start()
        first.ask("begin")
        waiting = SharedFile(*files)
        assert not waiting.begin_filling(longest_wait_s=0.2)
        assert "another process fills galleries" in caplog.text
        assert not waiting.begin_filling(longest_wait_s=0.2)  # nothing is left locked
        first.kill()
        assert waiting.begin_filling()
        waiting.end_filling()
