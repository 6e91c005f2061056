"""Copies of recordings are found whatever was done to the file; other recordings are not."""

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from matchka.modalities.audio.decoding import AudioLimits, read_clip
from matchka_train.modalities.audio_fingerprint import (
    FRAME_SAMPLES,
    HOP_SAMPLES,
    SAMPLE_RATE_HZ,
    copies_among,
    copies_of,
    fingerprint,
    index_of,
)

ANY_LENGTH = AudioLimits(max_duration_s=60.0, min_speech_s=0.0)


def written(clip: np.ndarray, rate_hz: int, container: str = "WAV", encoding: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, clip, rate_hz, format=container, subtype=encoding)
    return file.getvalue()


def words_of(data: bytes) -> np.ndarray:
    return fingerprint(read_clip(data, SAMPLE_RATE_HZ, ANY_LENGTH))


@pytest.fixture(scope="module")
def recordings(voice_samples: Path) -> dict[str, tuple[np.ndarray, int]]:
    """Real speech of several people."""
    return {
        str(path): soundfile.read(path, dtype="float32", always_2d=True)
        for path in sorted(voice_samples.rglob("*.wav"))
    }


def slow_words(clip: np.ndarray) -> list[int]:
    """The published formula, a frame, a band and a bit at a time."""
    edges = [int(300.0 * (2000.0 / 300.0) ** (k / 33) * FRAME_SAMPLES / SAMPLE_RATE_HZ) for k in range(34)]
    window = [0.5 - 0.5 * np.cos(2 * np.pi * k / (FRAME_SAMPLES - 1)) for k in range(FRAME_SAMPLES)]
    energies = []
    for start in range(0, len(clip) - FRAME_SAMPLES + 1, HOP_SAMPLES):
        spectrum = np.abs(np.fft.fft(np.asarray(clip[start : start + FRAME_SAMPLES], np.float64) * window)) ** 2
        energies.append([sum(spectrum[edges[k] : edges[k + 1]]) for k in range(33)])
    words = []
    for before, now in itertools.pairwise(energies):
        word = 0
        for band in range(32):
            word = 2 * word + int((now[band + 1] - now[band]) - (before[band + 1] - before[band]) > 0)
        words.append(word)
    return words


def test_words_are_those_of_the_published_formula():
    clip = np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ).astype(np.float32)
    assert fingerprint(clip).tolist() == slow_words(clip)


def test_a_clip_of_less_than_two_frames_has_no_words():
    assert fingerprint(np.ones(FRAME_SAMPLES, np.float32)).size == 0


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda clip, rate: written(clip, rate, "OGG", "VORBIS"), id="vorbis"),
        pytest.param(lambda clip, rate: written(clip, rate, "MP3", "MPEG_LAYER_III"), id="mp3"),
        pytest.param(
            lambda clip, rate: written(soxr.resample(clip, rate, 8_000), 8_000, "WAV", "ALAW"), id="telephone"
        ),
        pytest.param(lambda clip, rate: written(0.1 * clip, rate), id="quieter"),
        pytest.param(lambda clip, rate: written(clip[int(0.317 * rate) :], rate), id="cut at the start"),
        pytest.param(lambda clip, rate: written(np.pad(clip, ((rate, 0), (0, 0))), rate), id="silence before"),
    ],
)
def test_a_copy_is_found_and_only_that(recordings, change):
    index = index_of({name: words_of(written(clip, rate)) for name, (clip, rate) in recordings.items()})
    long_enough = {name: found for name, found in recordings.items() if len(found[0]) / found[1] >= 2.5}
    assert len(long_enough) >= 10
    for name, (clip, rate) in long_enough.items():
        assert [copy.first for copy in copies_of(index, "copy", words_of(change(clip, rate)))] == [name]


def test_recordings_of_other_words_are_no_copies(recordings):
    prints = {name: words_of(written(clip, rate)) for name, (clip, rate) in recordings.items()}
    assert copies_among(prints) == []


def test_copies_among_names_each_pair_once(recordings):
    name, (clip, rate) = max(recordings.items(), key=lambda entry: len(entry[1][0]))
    others = {key: words_of(written(*found)) for key, found in recordings.items()}
    (found,) = copies_among(others | {"copy": words_of(written(0.3 * clip, rate))})
    assert {found.first, found.second} == {name, "copy"}


def test_words_of_a_long_clip_are_those_of_its_pieces():
    """Frames are taken in blocks, which must not show."""
    clip = np.random.default_rng(1).standard_normal(4_200 * HOP_SAMPLES + FRAME_SAMPLES).astype(np.float32)
    start = 4_090 * HOP_SAMPLES
    piece = fingerprint(clip[start:])
    assert fingerprint(clip)[4_090:].tolist() == piece.tolist()


def test_an_index_of_silence_finds_nothing():
    silent = fingerprint(np.zeros(2 * SAMPLE_RATE_HZ, np.float32))
    assert copies_of(index_of({"a": silent}), "b", silent) == []
