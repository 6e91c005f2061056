"""A recording that was encoded anew is still the same recording: in two roles, or of two people, it is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from filelock import FileLock, Timeout
from PIL import Image
from rich.progress import Progress

from matchka_train.datasets.content import hash_files
from matchka_train.datasets.sample import Sample
from matchka_train.errors import DuplicateSampleError, IdentityOverlapError
from matchka_train.features.near_copies import find_near_copies, require_no_near_copies
from matchka_train.modalities.audio import AUDIO
from matchka_train.modalities.copies import CopyFinder
from matchka_train.modalities.face import FACE
from matchka_train.modalities.tabular import TABULAR

QUIET = Progress(disable=True)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a, b and c of 3 s of noise whose colour keeps changing; a.mp3 and quiet_a.wav are copies of a."""
    folder = tmp_path_factory.mktemp("clips")
    for number, name in enumerate("abc"):
        steps = np.random.default_rng(number).standard_normal(48_000)
        changing = np.interp(np.arange(48_000), np.arange(0, 48_000, 1_600), steps[:30]) * steps
        soundfile.write(folder / f"{name}.wav", (0.1 * changing).astype(np.float32), 16_000)
    clip, rate = soundfile.read(folder / "a.wav", dtype="float32")
    soundfile.write(folder / "a.mp3", clip, rate)
    soundfile.write(folder / "quiet_a.wav", 0.2 * clip, rate)
    return folder


def check(train: list[Sample], validation: list[Sample], cache: Path | None = None, confirmed: bool = False) -> None:
    require_no_near_copies(
        [train],
        [validation],
        lambda files: find_near_copies(files, AUDIO.copies, cache, QUIET),
        hash_files([*train, *validation], QUIET),
        lambda _one, _other: confirmed,
    )


def samples(folder: Path, **subjects: str) -> list[Sample]:
    return [Sample(next(folder.glob(f"{name}.*")), f"c/{who}", "d") for name, who in subjects.items()]


def test_a_recording_encoded_anew_in_the_other_role_is_refused_unless_confirmed(clips):
    train = samples(clips, a="ann", b="bob")
    validation = [Sample(clips / "a.mp3", "new/1", "d"), *samples(clips, c="eve")]
    train[0] = Sample(clips / "a.wav", "c/ann", "d")
    with pytest.raises(
        IdentityOverlapError, match=r"1 recordings .*a\.wav \(c/ann\) = .*a\.mp3 \(new/1\)|a\.mp3 .* = "
    ):
        check(train, validation)
    check(train, validation, confirmed=True)


def test_a_recording_of_two_people_or_validated_on_twice_is_refused_and_trained_on_twice_is_not(clips):
    original, copy = Sample(clips / "a.wav", "c/ann", "d"), Sample(clips / "quiet_a.wav", "c/ann", "d")
    with pytest.raises(DuplicateSampleError, match="quiet_a"):
        check([], [original, copy])
    with pytest.raises(DuplicateSampleError, match="quiet_a"):
        check([original, Sample(copy.path, "c/bob", "d")], samples(clips, b="bob"))
    check([original, copy], samples(clips, b="bob"))


def test_fingerprints_are_kept_for_each_content_and_files_that_cannot_be_read_have_none(clips, tmp_path):
    taken = []

    def counted(data: bytes) -> np.ndarray:
        taken.append(len(data))
        return AUDIO.copies.fingerprint(data)

    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    finder = CopyFinder("counted", counted, AUDIO.copies.find)
    first, second = Sample(clips / "a.wav", "", ""), Sample(clips / "b.wav", "", "")
    files = {sha256: path for path, sha256 in hash_files([first, second], QUIET).items()}
    bad, new = Sample(tmp_path / "bad.wav", "", ""), Sample(tmp_path / "new.wav", "", "")
    with_bad = files | {sha256: path for path, sha256 in hash_files([bad], QUIET).items()}
    assert find_near_copies(with_bad, finder, tmp_path / "cache", QUIET) == []
    shutil.copy(clips / "quiet_a.wav", new.path)
    (sha256,) = hash_files([new], QUIET).values()
    new.path.write_bytes((clips / "c.wav").read_bytes())  # others than were hashed: nothing is taken of them
    assert find_near_copies({**files, sha256: new.path}, finder, tmp_path / "cache", QUIET) == []
    shutil.copy(clips / "quiet_a.wav", new.path)
    (copy,) = find_near_copies({**files, sha256: new.path}, finder, tmp_path / "cache", QUIET)
    assert {files.get(copy.first), files.get(copy.second)} == {clips / "a.wav", None}
    assert len(taken) == 4
    find_near_copies(files, finder, None, QUIET)
    assert len(taken) == 6


def test_fingerprints_are_taken_by_one_command_at_a_time(clips, tmp_path):
    """While one of them takes a fingerprint nobody else gets hold of the folder."""
    free = []

    def watched(data: bytes) -> np.ndarray:
        lock = FileLock(tmp_path / "cache" / "fingerprints" / "watched.lock", is_singleton=False)
        try:
            with lock.acquire(timeout=0):
                free.append(True)
        except Timeout:
            free.append(False)
        return AUDIO.copies.fingerprint(data)

    files = {sha256: path for path, sha256 in hash_files(samples(clips, b="ann"), QUIET).items()}
    find_near_copies(files, CopyFinder("watched", watched, AUDIO.copies.find), tmp_path / "cache", QUIET)
    with FileLock(tmp_path / "cache" / "fingerprints" / "watched.lock").acquire(timeout=0):
        assert free == [False]


def test_pictures_are_compared_as_they_look_and_numbers_by_their_bytes_only(face_samples, tmp_path):
    original = min(face_samples.rglob("*.jpg"))
    Image.open(original).resize((180, 180)).save(tmp_path / "copy.png")
    both = [Sample(original, "", ""), Sample(tmp_path / "copy.png", "", "")]
    files = {sha256: path for path, sha256 in hash_files(both, QUIET).items()}
    (copy,) = find_near_copies(files, FACE.copies, None, QUIET)
    assert {copy.first, copy.second} == set(files)
    assert TABULAR.copies is None
    assert find_near_copies(files, TABULAR.copies, None, QUIET) == []
