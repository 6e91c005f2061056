"""What was deleted is in no file of the data folder, in any form; and the search for it would find it if it were."""

import base64
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import requests

from loadtests.torture.scan import Found, scan_folder
from matchka.errors import RequestFailedError
from tests.factories.server_process import RunningServer, start, stop

WAIT_S = 120.0
CLIPS = ("cards/001.wav", "cards/002.wav", "librivox/0870.wav", "librivox/0880.wav")


@dataclass
class Gallery:
    """A server, clips, and the embedding of each."""

    server: RunningServer
    clips: list[bytes]
    vectors: np.ndarray

    def found(self, *chosen: int) -> list[Found]:
        """Where a clip's vector, or the mean of several, is in the data folder, in whatever form."""
        mean = self.vectors[list(chosen)].mean(axis=0)
        unit = mean / np.linalg.norm(mean)
        needles = {"mean": mean.astype(np.float32), "unit": unit.astype(np.float32)}
        return scan_folder(self.server.data_dir, needles, ["unit"])[0]

    def metric(self, name: str) -> float:
        lines = requests.get(f"{self.server.url}/metrics", timeout=120).text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def gallery(models_dir: Path, voice_samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    server = start(models_dir, tmp_path_factory.mktemp("deletion") / "data")
    clips = [(voice_samples / name).read_bytes() for name in CLIPS]
    answer = requests.post(
        f"{server.url}/v1/embed",
        data={"model": "voice", "encoding": "base64"},
        files=[("file", ("clip", clip)) for clip in clips],
        timeout=60,
    ).json()
    vectors = np.stack([np.frombuffer(base64.b64decode(row), "<f4") for row in answer["embeddings"]])
    yield Gallery(server, clips, vectors.astype(np.float64))
    stop(server.process)


@pytest.fixture
def reader(gallery: Gallery) -> Iterator[sqlite3.Connection]:
    """Another process' connection; a read that it begins lasts until it ends it."""
    connection = sqlite3.connect(gallery.server.data_dir / "matchka.sqlite", isolation_level=None)
    yield connection
    connection.close()


@pytest.mark.parametrize("dtype", ["<f4", "<f2", "uint8", "int8"])
@pytest.mark.parametrize("components", [16, 64, 256])
@pytest.mark.parametrize("offset", [0, 1, 4093])
def test_scan_finds_a_vector_in_any_form_at_any_byte(
    gallery: Gallery, tmp_path: Path, dtype: str, components: int, offset: int
):
    vector = gallery.vectors[0]
    if dtype in ("uint8", "int8"):
        components = max(components, 32)  # fewer codes would be found by chance
        codes = np.rint(127 * vector[:components]).astype(np.int16) + (128 if dtype == "uint8" else 0)
        stored = codes.astype(dtype).tobytes()
    else:
        stored = vector[:components].astype(dtype).tobytes()
    noise = np.random.default_rng(offset).bytes(9000)
    needles = {"it": vector.astype(np.float32), "another": gallery.vectors[2].astype(np.float32)}
    (tmp_path / "nested").mkdir()
    (tmp_path / "nested" / "file").write_bytes(noise[:offset] + stored + noise[offset:])
    found, size = scan_folder(tmp_path, needles, list(needles))
    assert {(one.label, one.file) for one in found} == {("it", "nested/file")}
    assert offset in {one.offset for one in found}
    assert size == 9000 + len(stored)
    (tmp_path / "nested" / "file").write_bytes(noise)
    assert scan_folder(tmp_path, needles, list(needles))[0] == []


def test_deleted_subject_is_in_no_file_while_the_server_runs_and_after_it(gallery: Gallery):
    client = gallery.server.client()
    client.enroll("kept", gallery.clips[:1])
    client.enroll("deleted", gallery.clips[1:3], force=True)  # two people: all that matters is whose bytes are found
    client.enroll("deleted", gallery.clips[3:], force=True)
    assert gallery.found(0), "held"
    for chosen in ((1,), (2,), (3,), (1, 2, 3)):
        assert gallery.found(*chosen), f"{chosen} is held, and the search must find it before it may miss it"
    client.delete_subject("deleted")
    for chosen in ((1,), (2,), (3,), (1, 2), (1, 2, 3)):
        assert gallery.found(*chosen) == []
    assert gallery.found(0)
    client.delete_subject("kept")


def test_deleted_template_and_the_reference_that_held_it_are_in_no_file(gallery: Gallery):
    client = gallery.server.client()
    ids = client.enroll("ada", gallery.clips[:3], force=True).template_ids
    for chosen in ((0,), (1,), (2,), (0, 1, 2)):
        assert gallery.found(*chosen)
    client.delete_template(ids[1])
    assert gallery.found(1) == []
    assert gallery.found(0, 1, 2) == []
    assert gallery.found(0)
    assert gallery.found(0, 2), "the reference is the mean of the others at once"
    reference = gallery.vectors[[0, 2]].mean(axis=0)
    expected = reference @ gallery.vectors[3] / np.linalg.norm(reference)
    assert client.verify("ada", gallery.clips[3]).cosine == pytest.approx(expected, abs=1e-5)
    client.delete_subject("ada")


def test_sample_that_an_enrolment_refuses_or_leaves_out_is_in_no_file(gallery: Gallery):
    client = gallery.server.client()
    client.enroll("ada", gallery.clips[:1])
    with pytest.raises(RequestFailedError) as refused:
        client.enroll("ada", gallery.clips[2:3])
    assert refused.value.code == "differs_from_subject"
    answer = client.enroll("ada", gallery.clips[1:3], on_error="skip")
    assert [(one.file, one.code) for one in answer.skipped] == [(2, "differs_from_subject")]
    assert gallery.found(0, 1)
    for chosen in ((2,), (0, 2), (0, 1, 2)):
        assert gallery.found(*chosen) == []
    client.delete_subject("ada")


def test_deletion_under_a_long_read_is_answered_and_erased_when_the_read_ends(
    gallery: Gallery, reader: sqlite3.Connection
):
    client = gallery.server.client()
    client.enroll("read", gallery.clips[:2])
    until(lambda: gallery.metric("matchka_erasures_waiting") == 0)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM templates").fetchone()
    client.delete_subject("read")
    assert "read" not in {s.subject_id for s in client.subjects().subjects}
    assert gallery.found(0), "the reader may still ask for it"
    assert gallery.metric("matchka_erasures_waiting") >= 1
    assert "a long read keeps what was deleted" in gallery.server.log.read_text()
    client.enroll("meanwhile", gallery.clips[2:3])  # nobody waits for the reader
    reader.execute("COMMIT")
    until(lambda: gallery.metric("matchka_erasures_waiting") == 0)
    for chosen in ((0,), (1,), (0, 1)):
        assert gallery.found(*chosen) == []
    assert gallery.found(2)
    client.delete_subject("meanwhile")


def test_files_of_a_stopped_server_hold_nothing_that_was_deleted(gallery: Gallery):
    """The last test of this module: it stops the server."""
    client = gallery.server.client()
    client.enroll("first", gallery.clips[:2])
    client.enroll("second", gallery.clips[2:])
    client.delete_subject("first")
    assert stop(gallery.server.process) == 0
    for chosen in ((0,), (1,), (0, 1)):
        assert gallery.found(*chosen) == []
    assert gallery.found(2)
    assert gallery.found(2, 3)
