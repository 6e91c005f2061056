"""The recordings, as the package holds them."""

import hashlib
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from matchka_export.samples import FACES, VOICE_CLIPS, VOICES, write_samples
from matchka_train.errors import DownloadError
from matchka_train.weights.package_catalogue import FACE_RECOGNITION, POCKETSPHINX
from tests.factories.checkout import ROOT

DOWNLOADS = ROOT / "build" / "downloads"
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("samples") / "voice"
    try:
        write_samples(VOICES, target, DOWNLOADS, QUIET)
    except DownloadError as error:
        pytest.skip(f"the recordings are neither in the cache nor to be fetched: {error}")
    return target


def test_write_samples_when_done_holds_every_person_and_says_where_from(clips: Path) -> None:
    assert {folder.name: len(list(folder.iterdir())) for folder in clips.iterdir() if folder.is_dir()} == {
        "librivox": 5,
        "cards": 5,
        "goforward": 3,
        "forever": 2,
        "chan3": 1,
    }
    assert POCKETSPHINX.sha256 in (clips / "SOURCE.txt").read_text()


def test_write_samples_when_file_is_a_wav_copies_it(clips: Path) -> None:
    assert hashlib.sha256((clips / "cards" / "004.wav").read_bytes()).hexdigest() == (
        "4c44a8177f5b128b99f078cdeb918119933155574231f1833e8840d1af09c521"
    )


def test_write_samples_when_file_is_raw_keeps_every_sample(clips: Path) -> None:
    with tarfile.open(DOWNLOADS / POCKETSPHINX.file_name) as tar:
        member = tar.extractfile(VOICE_CLIPS["goforward/numbers"])
        assert member is not None
        raw = np.frombuffer(member.read(), "<i2")
    samples, rate = soundfile.read(clips / "goforward" / "numbers.wav", dtype="int16")
    assert rate == 16_000
    np.testing.assert_array_equal(samples, raw)


def test_write_samples_when_they_are_there_needs_no_package(clips: Path, tmp_path: Path) -> None:
    assert len(write_samples(VOICES, clips, tmp_path / "nothing-here", QUIET)) == 16
    assert not (tmp_path / "nothing-here").exists()


def test_write_samples_when_one_is_missing_writes_it_again(clips: Path) -> None:
    (clips / "forever" / "input_2_16k.wav").unlink()
    write_samples(VOICES, clips, DOWNLOADS, QUIET)
    assert (clips / "forever" / "input_2_16k.wav").is_file()


def test_write_samples_when_pictures_are_asked_for_writes_those_of_the_package(tmp_path: Path) -> None:
    target = tmp_path / "face"
    try:
        pictures = write_samples(FACES, target, DOWNLOADS, QUIET)
    except DownloadError as error:
        pytest.skip(f"the pictures are neither in the cache nor to be fetched: {error}")
    names = [picture.relative_to(target).as_posix() for picture in pictures]
    assert names == ["biden/biden.jpg", "obama/obama.jpg", "obama/obama2.jpg", "obama/obama3.jpg"]
    with tarfile.open(DOWNLOADS / FACE_RECOGNITION.file_name) as tar:
        member = tar.extractfile("face_recognition-1.3.0/tests/test_images/obama2.jpg")
        assert member is not None
        assert (target / "obama" / "obama2.jpg").read_bytes() == member.read()
    assert FACE_RECOGNITION.sha256 in (target / "SOURCE.txt").read_text()
