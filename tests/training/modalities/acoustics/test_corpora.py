"""Corpora of noise and of rooms are read as they are distributed."""

from pathlib import Path

import pytest

from matchka_train.errors import DatasetError
from matchka_train.modalities.acoustics.corpora import SoundKind, read_sounds
from tests.factories.sound_corpora import tone, write, write_musan, write_rirs_noises


def names(parts: list[list[Path]], root: Path) -> list[list[str]]:
    return [[path.relative_to(root).as_posix() for path in part] for part in parts]


def test_read_sounds_of_musan_takes_each_sub_folder_for_what_it_is(tmp_path):
    root = write_musan(tmp_path / "musan")
    assert names(read_sounds("musan", root, SoundKind.NOISE), root) == [["noise/free-sound/noise-free-sound-0000.wav"]]
    assert names(read_sounds("musan", root, SoundKind.MUSIC), root) == [
        ["music/rfm/music-rfm-0000.wav", "music/rfm/music-rfm-0001.wav"]
    ]
    assert names(read_sounds("musan", root, SoundKind.BABBLE), root) == [
        [f"speech/us-gov/speech-us-gov-000{number}.wav" for number in range(4)]
    ]


@pytest.mark.parametrize("given", [".", "RIRS_NOISES"])
def test_read_sounds_of_rirs_noises_takes_what_its_lists_name_a_list_a_part(tmp_path, given):
    inside = write_rirs_noises(tmp_path / "RIRS_NOISES")
    assert names(read_sounds("rirs_noises", tmp_path / given, SoundKind.ROOM), inside) == [
        ["simulated_rirs/largeroom/Room001/Room001-00001.wav"],
        ["simulated_rirs/smallroom/Room001/Room001-00001.wav"],
        ["real_rirs_isotropic_noises/room.wav"],
    ]
    assert names(read_sounds("rirs_noises", tmp_path / given, SoundKind.NOISE), inside) == [
        ["pointsource_noises/noise-0000.wav"],
        ["real_rirs_isotropic_noises/noise.wav"],
    ]


@pytest.mark.parametrize("kind", list(SoundKind))
def test_read_sounds_of_a_plain_folder_takes_every_recording_for_what_is_asked(tmp_path, kind):
    for name in ("b.wav", "deep/a.WAV"):
        write(tmp_path / "own" / name, tone(100))
    (tmp_path / "own/notes.txt").write_text("none")
    assert names(read_sounds("folder", tmp_path / "own", kind), tmp_path / "own") == [["b.wav", "deep/a.WAV"]]


@pytest.mark.parametrize(
    ("layout", "kind", "message"),
    [
        ("musan", SoundKind.ROOM, "no room.*noise, music, babble"),
        ("rirs_noises", SoundKind.MUSIC, "no music.*room, noise"),
        ("musan", SoundKind.MUSIC, "no music of the layout musan.*wav"),
        ("rirs_noises", SoundKind.ROOM, "no room of the layout rirs_noises"),
        ("folder", SoundKind.ROOM, "no room of the layout folder"),
    ],
)
def test_read_sounds_when_the_folder_holds_none_refuses(tmp_path, layout, kind, message):
    with pytest.raises(DatasetError, match=message):
        read_sounds(layout, tmp_path, kind)


def test_read_sounds_when_there_is_no_folder_refuses(tmp_path):
    with pytest.raises(DatasetError, match=r"no such folder.*augmentation"):
        read_sounds("musan", tmp_path / "absent", SoundKind.NOISE)


@pytest.mark.parametrize("name", ["RIRS_NOISES/absent.wav", "RIRS_NOISES/../out.wav", "/etc/hostname"])
def test_read_sounds_when_a_list_names_what_is_not_in_the_corpus_refuses(tmp_path, name):
    root = write_rirs_noises(tmp_path / "RIRS_NOISES")
    write(tmp_path / "out.wav", tone(100))
    with (root / "pointsource_noises/noise_list").open("a") as file:
        file.write(f"--noise-id 3 {name}\n")
    with pytest.raises(DatasetError, match=r"Line 2 of .*noise_list"):
        read_sounds("rirs_noises", root, SoundKind.NOISE)
