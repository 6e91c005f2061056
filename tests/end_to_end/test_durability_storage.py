"""Disks that are full, read-only or damaged under a real server: a named refusal, and never a wrong answer."""

import errno
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import requests

from matchka.errors import RequestFailedError, ServiceUnreachableError
from tests.factories.bundles import write_bundle
from tests.factories.samples import sample, voice
from tests.factories.server_process import RunningServer, start, stop
from tests.factories.slow_embedding import embedding_of

START_S = 120


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A bundle small enough that a start costs nothing."""
    write_bundle(tmp_path / "models" / "voice")
    return tmp_path / "models"


@contextmanager
def running(models: Path, data_dir: Path) -> Iterator[RunningServer]:
    server = start(models, data_dir)
    try:
        yield server
    finally:
        assert stop(server.process) == 0


def refusal(models: Path, data_dir: Path) -> str:
    """What a server says that does not start; its log is taken away before the next."""
    server = start(models, data_dir, None, False, {})
    assert server.process.wait(START_S) == 2
    said = server.log.read_text()
    server.log.unlink()
    assert "Traceback" not in said
    return " ".join(said.split())


def becomes_ready(server: RunningServer) -> bool:
    """Whether a server comes to serve; False where it ends instead."""
    while server.process.poll() is None:
        try:
            server.client().wait_until_ready(0.5)
        except (ServiceUnreachableError, RequestFailedError):
            continue
        return True
    return False


def subjects(server: RunningServer) -> set[str]:
    return {one.subject_id for one in server.client().subjects(limit=1000).subjects}


def require_right_answers(server: RunningServer, people: set[int]) -> None:
    """Everybody enrolled with their first take is found by their second, with the similarity recomputed here."""
    assert subjects(server) == {f"p{person}" for person in people}
    for person in sorted(people)[:5]:
        own, probe = (embedding_of(voice(person, take)) for take in (0, 1))
        assert server.client().verify(f"p{person}", sample(person, 1)).similarity == pytest.approx(
            float(own @ probe), abs=1e-4
        )
        answer = server.client().identify(sample(person), top_k=100)
        assert {one.subject_id for one in answer.candidates} == {f"p{person}" for person in people}
        assert answer.candidates[0].similarity == pytest.approx(1.0, abs=1e-4)
        assert answer.gallery_size == len(people)


def enroll_until_refused(server: RunningServer, people: set[int]) -> RequestFailedError:
    for person in range(len(people), 2000):
        try:
            server.client().enroll(f"p{person}", [sample(person)])
        except RequestFailedError as refused:
            return refused
        people.add(person)
    raise AssertionError("the disk never became full")


def require_full_disk_is_survived(server: RunningServer, make_room: Callable[[], None]) -> set[int]:
    people: set[int] = set()
    refused = enroll_until_refused(server, people)
    assert (refused.status, refused.code) == (507, "storage_full")
    assert "room" in str(refused)
    assert people, "some were stored before"
    require_right_answers(server, people)
    for path in ("/healthz", "/readyz"):
        assert requests.get(server.url + path, timeout=120).status_code == 200
    make_room()
    server.client().enroll("p1999", [sample(1999)])
    people.add(1999)
    server.client().delete_subject("p0")
    people.remove(0)
    require_right_answers(server, people)
    return people


def test_files_that_may_not_grow_refuse_enrolments_until_they_may(models: Path, tmp_path: Path):
    """As under a quota; it works for everybody."""
    data_dir = tmp_path / "data"
    with running(models, data_dir) as server:
        unlimited = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (200_000, unlimited[1]))
        people = require_full_disk_is_survived(
            server, lambda: resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, unlimited) and None
        )
    with running(models, data_dir) as server:
        require_right_answers(server, people)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB of its own."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mounted)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    yield mounted
    subprocess.run(["umount", "--lazy", str(mounted)], check=True)


def test_full_disk_refuses_enrolments_until_there_is_room(models: Path, small_disk: Path, tmp_path: Path):
    data_dir = tmp_path / "link"
    data_dir.symlink_to(small_disk)
    with running(models, data_dir) as server:
        filler = small_disk / "filler"
        filler.write_bytes(bytes(1_500_000))
        people = require_full_disk_is_survived(server, filler.unlink)
    with running(models, data_dir) as server:
        require_right_answers(server, people)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError as full:
            assert full.errno == errno.ENOSPC  # noqa: PT017  (it is what is waited for)


def test_start_on_a_full_disk_is_refused_or_serves_what_is_there(models: Path, small_disk: Path, tmp_path: Path):
    data_dir = tmp_path / "link"
    data_dir.symlink_to(small_disk)
    with running(models, data_dir) as server:
        server.client().enroll("p0", [sample(0)])
    fill(small_disk / "filler")
    said = refusal(models, data_dir)
    assert "cannot be opened" in said
    assert "Make room" in said
    (small_disk / "filler").unlink()
    with running(models, data_dir) as server:
        require_right_answers(server, {0})


def test_data_folder_on_a_read_only_disk_is_refused(models: Path, small_disk: Path, tmp_path: Path):
    data_dir = tmp_path / "link"
    data_dir.symlink_to(small_disk)
    with running(models, data_dir) as server:
        server.client().enroll("p0", [sample(0)])
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "The data folder cannot be written" in refusal(models, data_dir)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    with running(models, data_dir) as server:
        require_right_answers(server, {0})


def test_data_folder_without_the_right_to_write_is_refused(models: Path, tmp_path: Path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o500)
    assert "The data folder cannot be written" in refusal(models, data_dir)


@pytest.fixture
def stopped(models: Path, tmp_path: Path) -> Path:
    """A data folder of three people whose server has ended."""
    data_dir = tmp_path / "data"
    with running(models, data_dir) as server:
        for person in range(3):
            server.client().enroll(f"p{person}", [sample(person)])
    return data_dir


def stored(data_dir: Path, person: int) -> list[int]:
    """Where a person's template, and the reference that is the same, are in the database's file."""
    path = data_dir / "matchka.sqlite"
    connection = sqlite3.connect(path)
    blobs = [
        row[0]
        for table in ("templates", "subject_references")
        for row in connection.execute(f"SELECT embedding FROM {table}")
    ]
    connection.close()
    own = {blob for blob in blobs if np.allclose(np.frombuffer(blob, "<f4"), embedding_of(voice(person)), atol=1e-4)}
    content = path.read_bytes()
    return [at for blob in own for at in range(len(content)) if content.startswith(blob, at)]


def test_database_with_a_flipped_bit_in_a_vector_is_never_answered_from(models: Path, stopped: Path):
    path = stopped / "matchka.sqlite"
    places = stored(stopped, 1)
    assert len(places) == 2
    content = path.read_bytes()
    refused = 0
    for at in places:
        path.write_bytes(content[: at + 2] + bytes([content[at + 2] ^ 4]) + content[at + 3 :])
        for file in stopped.iterdir():
            if file.name not in ("matchka.sqlite", "lock"):
                shutil.rmtree(file) if file.is_dir() else file.unlink()
        server = start(models, stopped, None, False, {})
        if not becomes_ready(server):
            assert server.process.wait(START_S) == 2
            assert "damaged" in server.log.read_text()
            assert "restore a backup" in " ".join(server.log.read_text().split())
            refused += 1
            server.log.unlink()
            continue
        with pytest.raises(RequestFailedError) as failed:
            server.client().enroll("p1", [sample(1, 1)])
        assert (failed.value.status, failed.value.code) == (503, "storage_damaged")
        require_right_answers(server, {0, 1, 2})
        assert stop(server.process) == 0
    assert refused == 1


@pytest.mark.parametrize("kept", [0, 100, 4096, 20_000])
def test_database_that_was_cut_short_is_refused(models: Path, stopped: Path, kept: int):
    path = stopped / "matchka.sqlite"
    path.write_bytes(path.read_bytes()[:kept])
    assert "ackup" in refusal(models, stopped)


def test_database_with_a_page_of_noise_is_refused(models: Path, stopped: Path):
    path = stopped / "matchka.sqlite"
    content = path.read_bytes()
    page = stored(stopped, 1)[0] // 4096 * 4096
    path.write_bytes(content[:page] + np.random.default_rng(1).bytes(4096) + content[page + 4096 :])
    assert "damaged" in refusal(models, stopped)


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
def test_bundle_with_a_flipped_bit_is_refused(models: Path, stopped: Path, name: str):
    file = models / "voice" / name
    content = file.read_bytes()
    middle = len(content) // 2
    file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    said = refusal(models, stopped)
    assert "voice" in said
    assert "error:" in said


def test_bundle_with_the_graph_of_another_is_refused_and_another_version_compares_with_nobody(
    models: Path, stopped: Path, tmp_path: Path
):
    other = write_bundle(tmp_path / "other" / "voice", version="2.0.0", seed=8)
    shutil.copy(models / "voice" / "model.onnx", tmp_path / "kept.onnx")
    shutil.copy(other / "model.onnx", models / "voice" / "model.onnx")
    assert "model.onnx" in refusal(models, stopped)
    with running(tmp_path / "other", stopped) as server:
        with pytest.raises(RequestFailedError) as refused:
            server.client().verify("p0", sample(0))
        assert (refused.value.status, refused.value.code) == (409, "other_version")
        assert server.client().identify(sample(0)).candidates == []
    shutil.copy(tmp_path / "kept.onnx", models / "voice" / "model.onnx")
    with running(models, stopped) as server:
        require_right_answers(server, {0, 1, 2})


def test_second_process_on_one_data_folder_is_refused_and_the_first_serves_on(models: Path, tmp_path: Path):
    data_dir = tmp_path / "data"
    with running(models, data_dir) as server:
        server.client().enroll("p0", [sample(0)])
        assert "Another process owns the data folder" in refusal(models, data_dir)
        require_right_answers(server, {0})
