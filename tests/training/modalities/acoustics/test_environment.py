"""Views hold the noise and rooms of the folders that a recipe names, whatever the files are called."""

import logging
import shutil

import numpy as np
import pytest

from matchka_train.errors import DatasetError, FeatureError
from matchka_train.modalities.acoustics.environment import open_environment
from matchka_train.modalities.acoustics.recordings import read_recordings
from matchka_train.modalities.augmentation import AugmentationRecipe, View
from tests.factories.sound_corpora import RATE_HZ, response, tone, write, write_musan, write_rirs_noises

SHA256 = "ab" * 32
STATED = {"name": "x", "source": "https://example.org", "licence": "CC0"}
CLIP = (0.05 * np.random.default_rng(5).standard_normal(RATE_HZ)).astype(np.float32)


def recorded(layout, path, **snr_db):
    return {"folders": [{**STATED, "layout": layout, "path": str(path), "snr_db": snr_db}]}


def responses(layout, path):
    return {"folders": [{**STATED, "layout": layout, "path": str(path)}], "share": 1.0}


def view(quiet, number=1, seed=0, **sections):
    """A view that changes nothing but what the sections do."""
    recipe = AugmentationRecipe(views=9, crop_s=None, noise_snr_db=None, level_db=(0.0, 0.0), **sections)
    return View(number, seed, recipe, open_environment(recipe.recorded_noise, recipe.rooms, quiet))


def changed(made, clip=CLIP, rate_hz=RATE_HZ, sha256=SHA256):
    return made.apply(clip, rate_hz, sha256, 0)


def power(samples):
    return float(np.mean(samples.astype(np.float64) ** 2))


def peaks_hz(samples, rate_hz, share=0.2):
    """Frequencies of the lines that reach a share of the highest."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    high = np.flatnonzero(spectrum >= share * spectrum.max())
    return {int(round(number * rate_hz / len(samples), -2)) for number in high}


@pytest.fixture
def musan(tmp_path):
    return write_musan(tmp_path / "musan")


@pytest.mark.parametrize(
    ("kind", "allowed"), [("noise", {3_000}), ("music", {400, 500}), ("babble", {700, 900, 1_100, 1_300})]
)
def test_view_adds_what_the_sub_folders_hold_at_ratios_from_the_range(musan, quiet, kind, allowed):
    ratios, seen = [], []
    for number in range(1, 13):
        added = changed(view(quiet, number, recorded_noise=recorded("musan", musan, **{kind: (3.0, 9.0)}))) - CLIP
        ratios.append(10 * np.log10(power(CLIP) / power(added)))
        seen.append(peaks_hz(added, RATE_HZ))
    assert 3.0 - 1e-3 <= min(ratios) < 5 < 7 < max(ratios) <= 9.0 + 1e-3
    assert set().union(*seen) == allowed
    assert kind == "babble" or all(len(found) == 1 for found in seen)
    assert kind != "babble" or any(len(found) > 1 for found in seen)


def test_view_of_several_kinds_takes_each_with_its_own_range(musan, quiet):
    section = recorded("musan", musan, noise=(0.0, 0.0), music=(20.0, 20.0))
    made = [changed(view(quiet, number, recorded_noise=section)) for number in range(1, 17)]
    ratios = [round(10 * np.log10(power(CLIP) / power(noisy - CLIP)), 2) for noisy in made]
    assert set(ratios) == {0.0, 20.0}


def test_view_with_a_share_leaves_the_others_as_they_are(musan, quiet):
    section = recorded("musan", musan, noise=(0.0, 0.0)) | {"share": 0.5}
    untouched = [np.array_equal(changed(view(quiet, n, recorded_noise=section)), CLIP) for n in range(1, 41)]
    assert 10 <= sum(untouched) <= 30


def test_view_at_another_rate_resamples_noise_and_repeats_what_is_short(musan, quiet):
    clip = (0.05 * np.random.default_rng(5).standard_normal(48_000)).astype(np.float32)
    made = view(quiet, recorded_noise=recorded("musan", musan, noise=(0.0, 0.0)))
    added = changed(made, clip, 16_000) - clip  # 3 s out of half a second
    assert peaks_hz(added, 16_000, 0.5) == {3_000}
    assert np.allclose(added[8_000:16_000], added[16_000:24_000], atol=1e-6)


def test_view_passes_a_room_of_the_folder_by_its_first_microphone(tmp_path, quiet):
    clip = np.zeros(RATE_HZ, np.float32)
    clip[4_000] = 0.5
    rooms = tmp_path / "rooms"
    write(rooms / "two.wav", np.stack([response(30, 300), tone(900, 300 / RATE_HZ)], axis=1))
    passed = changed(view(quiet, rooms=responses("folder", rooms)), clip)
    assert int(np.argmax(np.abs(passed))) == 4_000
    echoes = {at - 4_000: round(float(passed[at] / passed[4_000]), 4) for at in np.flatnonzero(np.abs(passed) > 1e-4)}
    assert echoes == {-5: 0.0625, 0: 1.0, 17: -0.5, 90: 0.25}
    assert power(passed) == pytest.approx(power(clip), rel=1e-5)


def test_view_passes_rooms_of_rirs_noises_and_hears_its_noise_behind_them(tmp_path, quiet):
    root = write_rirs_noises(tmp_path / "RIRS_NOISES")
    rooms = responses("rirs_noises", root)
    both = view(quiet, rooms=rooms, recorded_noise=recorded("rirs_noises", root, noise=(10.0, 10.0)))
    alone = view(quiet, rooms=rooms)
    wet = changed(alone)
    assert not np.allclose(wet, CLIP, atol=1e-3)
    # the room is drawn first, from the same numbers
    assert 10 * np.log10(power(wet) / power(changed(both) - wet)) == pytest.approx(10.0, abs=1e-3)


def test_view_is_the_same_wherever_the_folder_lies_and_whatever_its_files_are_called(musan, tmp_path, quiet):
    section = recorded("musan", musan, noise=(0.0, 9.0), music=(0.0, 9.0), babble=(0.0, 9.0))
    first = view(quiet, 3, recorded_noise=section)
    expected = changed(first)
    other = tmp_path / "elsewhere"
    shutil.copytree(musan, other)
    for number, path in enumerate(sorted(other.rglob("*.wav"))):
        path.rename(path.with_name(f"{9 - number}.wav"))
    (other / "music/copy.wav").write_bytes(next((other / "music").rglob("*.wav")).read_bytes())
    moved = view(quiet, 3, recorded_noise=section | {"folders": [section["folders"][0] | {"path": str(other)}]})
    assert np.array_equal(changed(moved), expected)
    assert moved.describe() == first.describe()
    assert str(tmp_path) not in str(first.describe())


def test_view_depends_on_the_clip_the_number_and_the_seed(musan, quiet):
    section = {"recorded_noise": recorded("musan", musan, noise=(0.0, 9.0), music=(0.0, 9.0))}
    first = changed(view(quiet, **section))
    assert np.array_equal(first, changed(view(quiet, **section)))
    for other in (
        changed(view(quiet, 2, **section)),
        changed(view(quiet, 1, 1, **section)),
        changed(view(quiet, **section), sha256="cd" * 32),
    ):
        assert not np.array_equal(first, other)


def test_describe_changes_with_a_file_a_range_and_a_share(musan, tmp_path, quiet):
    rooms = responses("folder", tmp_path / "rooms")
    write(tmp_path / "rooms/a.wav", response(30, 300))
    section = recorded("musan", musan, music=(0.0, 9.0))
    found = [view(quiet, recorded_noise=section, rooms=rooms).describe()]
    found.append(view(quiet, recorded_noise=section | {"share": 0.5}, rooms=rooms).describe())
    found.append(view(quiet, recorded_noise=section, rooms=rooms | {"share": 0.5}).describe())
    found.append(view(quiet, recorded_noise=recorded("musan", musan, music=(1.0, 9.0)), rooms=rooms).describe())
    found.append(view(quiet, recorded_noise=recorded("musan", musan, noise=(0.0, 9.0)), rooms=rooms).describe())
    write(musan / "music/rfm/music-rfm-0001.wav", tone(501))
    found.append(view(quiet, recorded_noise=section, rooms=rooms).describe())
    write(tmp_path / "rooms/a.wav", response(31, 300))
    found.append(view(quiet, recorded_noise=section, rooms=rooms).describe())
    assert len({str(entry) for entry in found}) == 7
    write(musan / "noise/free-sound/noise-free-sound-0000.wav", tone(1_234))  # not of what is used
    assert view(quiet, recorded_noise=section, rooms=rooms).describe() == found[-1]


def test_view_of_folders_that_nobody_opened_refuses(musan):
    recipe = AugmentationRecipe(views=1, recorded_noise=recorded("musan", musan, noise=(0.0, 9.0)))
    with pytest.raises(FeatureError, match="open_environment"):
        View(1, 0, recipe)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(b"RIFF nothing"), "no recording.*Format not recognised"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "bytes are missing"),
        (lambda path: write(path, tone(100), 3_000), "between 4000 and 384000 Hz"),
        (lambda path: write(path, np.zeros(4_000, np.float32)), "below -70 dBFS"),
        (lambda path: write(path, np.zeros(0, np.float32)), "below -70 dBFS"),
        (lambda path: write(path, np.full(10, np.nan, np.float32)), "NaN"),
    ],
)
def test_open_environment_of_files_that_cannot_be_used_refuses_and_names_them(musan, quiet, spoil, message):
    path = musan / "noise/free-sound/noise-free-sound-0000.wav"
    spoil(path)
    with pytest.raises(DatasetError, match=f"1 of 1 files .*{path.name}.*{message}.*Convert them or take them out"):
        view(quiet, recorded_noise=recorded("musan", musan, noise=(0.0, 9.0)))


def test_read_recordings_when_one_in_many_cannot_be_used_leaves_it_out_and_says_so(tmp_path, quiet, caplog):
    paths = [write(tmp_path / f"{number:03}.wav", response(20 + number, 300)) for number in range(100)]
    paths.append(tmp_path / "broken.wav")
    paths[-1].write_bytes(b"RIFF nothing")
    with caplog.at_level(logging.WARNING):
        (part,) = read_recordings(tmp_path, [paths], quiet)
    assert {file.name for file in part.files} == {path.name for path in paths[:-1]}
    assert "broken.wav" in caplog.text


def test_view_when_noise_pauses_takes_another_piece_and_when_there_is_nothing_else_refuses(tmp_path, quiet):
    pauses = np.zeros(60 * RATE_HZ, np.float32)
    write(tmp_path / "own/pauses.wav", pauses + np.pad(tone(900, 30), (0, 30 * RATE_HZ)))
    section = recorded("folder", tmp_path / "own", noise=(0.0, 0.0))
    for number in range(1, 9):  # half of the pieces are silent
        added = changed(view(quiet, number, recorded_noise=section)) - CLIP
        assert power(added) == pytest.approx(power(CLIP), rel=1e-4)
    pauses[0] = 0.5
    write(tmp_path / "own/pauses.wav", pauses)
    with pytest.raises(DatasetError, match="without long pauses"):
        changed(view(quiet, recorded_noise=section))


@pytest.mark.parametrize("after", [lambda path: path.unlink(), lambda path: write(path, tone(400, 0.1))])
def test_view_when_a_file_is_another_than_it_was_refuses(musan, quiet, after):
    made = view(quiet, recorded_noise=recorded("musan", musan, noise=(0.0, 9.0)))
    after(musan / "noise/free-sound/noise-free-sound-0000.wav")
    with pytest.raises(DatasetError, match="not what it was"):
        changed(made)
