"""The cache gives what the backbone gives, survives interruptions, and is never stale."""

import errno
import hashlib
import itertools
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from matchka_train.datasets.content import hash_files
from matchka_train.datasets.sample import Sample
from matchka_train.errors import DiskFullError, FeatureError, TooManyUnreadableError
from matchka_train.features.cache import FeatureCache
from matchka_train.features.extraction import extract_features
from matchka_train.features.features import join_features
from matchka_train.features.stored import atomic_feature_file
from matchka_train.modalities.acoustics.environment import open_environment
from matchka_train.modalities.augmentation import AugmentationRecipe, View
from tests.factories.sound_corpora import tone, write
from tests.factories.tiny_backbone import BANDS, TINY_INPUT, TinyBackbone
from tests.factories.voice_folders import RATE_HZ, voice, write_voices

LIMITS = {"max_duration_s": 60, "min_speech_s": 0.1}


@pytest.fixture
def samples(tmp_path):
    write_voices(tmp_path / "clips", range(3), 2)
    return [Sample(path, f"c/{path.parent.name}", "d") for path in sorted((tmp_path / "clips").rglob("*.wav"))]


class Counting(TinyBackbone):
    """Counts how many windows its network sees beyond the two of the fingerprint."""

    def module(self):
        network = super().module()
        self.seen.clear()
        network.register_forward_hook(lambda _module, inputs, _output: self.seen.append(len(inputs[0])))
        return network

    @property
    def seen(self) -> list[int]:
        return self.__dict__.setdefault("_seen", [])


def extract(samples, cache, quiet, backbone=None, view=None, limits=LIMITS):
    return extract_features(samples, backbone or TinyBackbone(), cache, quiet, limits, view)


def raise_disk_full():
    raise OSError(errno.ENOSPC, "No space left on device")


def expected_pooled(path: Path, start: float = 0.0, end: float = 1.0) -> np.ndarray:
    """Windows cut by hand, every one embedded by itself."""
    clip, _ = soundfile.read(path, dtype="float32")
    piece = clip[int(start * len(clip)) : int(end * len(clip))].astype(np.float64)
    level = np.sqrt(np.mean(piece**2))
    piece = piece * max(1.0, 10 ** (-30 / 20) / level)
    embedded, at = [], 0
    while True:
        window = np.zeros(3200)
        part = piece[at : at + 3200]
        window[: len(part)] = part
        with torch.inference_mode():
            embedded.append(TinyBackbone().module()(torch.tensor(window[None], dtype=torch.float32)).numpy()[0])
        if at + 3200 >= len(piece):
            return np.mean(embedded, axis=0)
        at += 1600


def test_extract_features_of_whole_clips_equals_windows_cut_by_hand(samples, tmp_path, quiet):
    found = extract(samples, tmp_path / "cache", quiet)
    assert found.subjects == tuple(sample.subject for sample in samples)
    for row, sample in zip(found.pooled(), samples, strict=True):
        assert np.allclose(row, expected_pooled(sample.path), atol=1e-5)


def test_extract_features_of_halves_equals_each_half_by_itself(samples, tmp_path, quiet):
    halves = [replace(samples[0], part=part, parts=2) for part in (0, 1)]
    found = extract(halves, tmp_path / "cache", quiet).pooled()
    assert np.allclose(found[0], expected_pooled(samples[0].path, 0, 0.5), atol=1e-5)
    assert np.allclose(found[1], expected_pooled(samples[0].path, 0.5, 1), atol=1e-5)


def test_extract_features_of_unequal_parts_equals_each_by_itself_and_is_cached(samples, tmp_path, quiet):
    parts = [replace(samples[0], part=part, parts=(0.75, 0.25)) for part in (0, 1)]
    backbone = Counting()
    found = extract(parts, tmp_path / "cache", quiet, backbone).pooled()
    assert np.allclose(found[0], expected_pooled(samples[0].path, 0, 0.75), atol=1e-5)
    assert np.allclose(found[1], expected_pooled(samples[0].path, 0.75, 1), atol=1e-5)
    assert np.array_equal(extract([*parts, samples[1]], tmp_path / "cache", quiet, backbone).pooled()[:2], found)
    assert backbone.seen == [2, len(extract([samples[1]], tmp_path / "elsewhere", quiet).windows)]


def test_extract_features_of_unequal_parts_equals_each_part_by_itself(samples, tmp_path, quiet):
    shares, edges = (0.5, 0.2, 0.3), (0, 0.5, 0.7, 1)
    parts = [replace(samples[0], part=part, parts=shares) for part in range(3)]
    halves = [replace(samples[0], part=part, parts=2) for part in (0, 1)]
    for found in (extract(parts, tmp_path / "cache", quiet), extract([*parts, *halves], tmp_path / "cache", quiet)):
        for row, start, end in zip(found.pooled(), edges, edges[1:], strict=False):
            assert np.allclose(row, expected_pooled(samples[0].path, start, end), atol=1e-5)
        assert np.allclose(found.spans[:3], list(itertools.pairwise(edges)))


def test_extract_features_when_cached_maps_memory_and_does_not_run_the_backbone(samples, tmp_path, quiet):
    backbone = Counting()
    first = extract(samples, tmp_path / "cache", quiet, backbone)
    assert sum(backbone.seen) > 2
    again = extract(samples, tmp_path / "cache", quiet, backbone)
    assert backbone.seen == [2]
    assert isinstance(again.windows, np.memmap)
    assert np.array_equal(first.windows, again.windows)


def test_extract_features_when_interrupted_goes_on_and_gives_the_same(tmp_path, quiet, monkeypatch):
    monkeypatch.setattr("matchka_train.features.embedding.SHARD_SAMPLES", 2)
    write_voices(tmp_path / "clips", range(3), 2)
    samples = [Sample(path, path.parent.name, "d") for path in sorted((tmp_path / "clips").rglob("*.wav"))]
    whole = extract(samples, tmp_path / "other", quiet).pooled()

    class Interrupted(Counting):
        def module(self):
            network = super().module()

            def stop(_module, _inputs, _output):
                if len(self.seen) == 4:  # the fingerprint and two shards are done
                    raise KeyboardInterrupt

            network.register_forward_hook(stop)
            return network

    with pytest.raises(KeyboardInterrupt):
        extract(samples, tmp_path / "cache", quiet, Interrupted())
    backbone = Counting()
    assert np.array_equal(extract(samples, tmp_path / "cache", quiet, backbone).pooled(), whole)
    assert len(backbone.seen) == 2  # the fingerprint and the shard that was missing


def test_extract_features_when_a_clip_changes_computes_anew(samples, tmp_path, quiet):
    before = extract(samples, tmp_path / "cache", quiet).pooled()
    stat = samples[0].path.stat()
    soundfile.write(samples[0].path, voice(99, 0, 1.0, 0.0), RATE_HZ)
    os.utime(samples[0].path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # times that claim nothing happened
    after = extract(samples, tmp_path / "cache", quiet).pooled()
    assert not np.allclose(before[0], after[0], atol=1e-3)
    assert np.array_equal(before[1:], after[1:])


@pytest.mark.parametrize(
    "change",
    [
        {"limits": {"max_duration_s": 59, "min_speech_s": 0.1}},
        {"backbone": TinyBackbone(input=TINY_INPUT.model_copy(update={"hop_samples": 800}))},
        {"backbone": TinyBackbone(source=replace(TinyBackbone().source, sha256="1" * 64))},
        {"view": View(1, 0, AugmentationRecipe(views=1))},
        {"view": View(2, 0, AugmentationRecipe(views=1))},
        {"view": View(1, 1, AugmentationRecipe(views=1))},
        {"view": View(1, 0, AugmentationRecipe(views=1, noise_snr_db=(0.0, 5.0)))},
    ],
)
def test_extract_features_when_anything_they_depend_on_changes_uses_another_folder(samples, tmp_path, quiet, change):
    extract(samples, tmp_path / "cache", quiet)
    extract(samples, tmp_path / "cache", quiet, view=View(9, 9, AugmentationRecipe(views=1)))
    extract(samples, tmp_path / "cache", quiet, **change)
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 3


def test_extract_features_when_a_folder_of_noise_is_given_or_a_file_in_it_changes_computes_anew(
    samples, tmp_path, quiet
):
    plain = {"views": 1, "crop_s": None, "noise_snr_db": None, "level_db": (0.0, 0.0)}
    folder = {"layout": "folder", "path": tmp_path / "own", "name": "own", "source": "us", "licence": "CC0"}
    section = {"folders": [folder | {"snr_db": {"noise": (0.0, 0.0)}}]}

    def noisy():
        recipe = AugmentationRecipe(**plain, recorded_noise=section)
        view = View(1, 0, recipe, open_environment(recipe.recorded_noise, None, quiet))
        return np.array(extract(samples, tmp_path / "cache", quiet, view=view).windows)

    quietly = np.array(
        extract(samples, tmp_path / "cache", quiet, view=View(1, 0, AugmentationRecipe(**plain))).windows
    )
    write(tmp_path / "own/a.wav", tone(400))
    first = noisy()
    assert np.array_equal(noisy(), first)
    stat = (tmp_path / "own/a.wav").stat()
    write(tmp_path / "own/a.wav", tone(2_000))
    os.utime(tmp_path / "own/a.wav", ns=(stat.st_atime_ns, stat.st_mtime_ns))  # the same name, size and time
    second = noisy()
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 3
    for one, other in ((quietly, first), (first, second)):
        assert np.abs(one - other).max(axis=1).min() > 1e-2


def test_extract_features_when_the_backbones_code_changes_computes_anew(samples, tmp_path, quiet):
    before = extract(samples, tmp_path / "cache", quiet).pooled()
    # same name and weights, other behaviour: only what it makes of fixed windows gives it away
    after = extract(samples, tmp_path / "cache", quiet, TinyBackbone(gain=30.0)).pooled()
    assert np.abs(before - after).max() > 1e-2


def test_extract_features_when_windows_do_not_fit_their_index_computes_anew(samples, tmp_path, quiet):
    whole = extract(samples, tmp_path / "cache", quiet).pooled()
    (stored,) = (tmp_path / "cache").glob("*/lists/*/windows.npy")
    np.save(stored, np.zeros((1, BANDS), np.float32))
    assert np.array_equal(extract(samples, tmp_path / "cache", quiet).pooled(), whole)


def test_extract_features_when_a_clip_is_added_embeds_that_clip_only(samples, tmp_path, quiet):
    backbone = Counting()
    first = extract(samples[1:], tmp_path / "cache", quiet, backbone)
    alone = extract(samples[:1], tmp_path / "elsewhere", quiet)
    found = extract(samples, tmp_path / "cache", quiet, backbone)
    assert backbone.seen == [2, len(alone.windows)]
    assert np.allclose(found.windows, np.concatenate([alone.windows, first.windows]), atol=1e-6)
    halves = [replace(samples[0], part=part, parts=2) for part in (0, 1)]
    extract([*halves, *samples], tmp_path / "cache", quiet, backbone)
    assert backbone.seen == [2, len(extract(halves, tmp_path / "elsewhere", quiet).windows)]


def test_extract_features_when_every_clip_is_known_embeds_none_and_names_them_as_they_are_called_now(tmp_path, quiet):
    write_voices(tmp_path / "clips", range(2), 51, seconds=0.5)
    (tmp_path / "clips/p000/broken.wav").write_bytes(b"RIFF nothing")
    samples = [Sample(path, "c/0", "d") for path in sorted((tmp_path / "clips").rglob("*.wav"))]
    extract(samples, tmp_path / "cache", quiet)
    (tmp_path / "clips").rename(tmp_path / "moved")
    moved = [
        replace(sample, path=tmp_path / "moved" / sample.path.relative_to(tmp_path / "clips")) for sample in samples
    ]
    backbone = Counting()
    found = extract(moved[::-1], tmp_path / "cache", quiet, backbone)
    assert backbone.seen == [2]
    assert [entry.path for entry in found.skipped] == [str(tmp_path / "moved/p000/broken.wav")]
    expected = extract(moved[::-1], tmp_path / "elsewhere", quiet)
    assert np.allclose(found.windows, expected.windows, atol=1e-6)
    assert found.paths == expected.paths


def test_extract_features_when_stored_rows_were_altered_embeds_those_clips_again_and_says_so(
    samples, tmp_path, quiet, caplog
):
    whole = extract(samples, tmp_path / "cache", quiet)
    expected = np.array(whole.windows)
    (stored,) = (tmp_path / "cache").glob("*/lists/*/windows.npy")
    altered = np.load(stored)
    altered[-1] *= -1
    np.save(stored, altered)
    backbone = Counting()
    found = extract(samples, tmp_path / "cache", quiet, backbone)
    assert backbone.seen == [2, int(whole.window_counts[-1])]
    assert np.allclose(found.windows, expected, atol=1e-6)
    (line,) = caplog.messages
    assert hashlib.sha256(samples[-1].path.read_bytes()).hexdigest() in line
    assert "embedded again" in line


def test_extract_features_when_an_index_is_no_index_computes_anew(samples, tmp_path, quiet):
    expected = np.array(extract(samples, tmp_path / "cache", quiet).windows)
    (index,) = (tmp_path / "cache").glob("*/lists/*/index.json")
    for content in (
        "",
        "[]",
        '{"window_counts": "x"}',
        index.read_text().replace('"clips": [[', '"clips": [[1, 2], ['),
    ):
        index.write_text(content)
        assert np.allclose(extract(samples, tmp_path / "cache", quiet).windows, expected, atol=1e-6)


def test_extract_features_when_one_clip_in_many_is_unreadable_lists_it(tmp_path, quiet):
    write_voices(tmp_path / "clips", range(1), 100, seconds=0.5)
    (tmp_path / "clips/p000/broken.wav").write_bytes(b"RIFF nothing")
    samples = [Sample(path, "c/0", "d") for path in sorted((tmp_path / "clips").rglob("*.wav"))]
    found = extract(samples, tmp_path / "cache", quiet)
    assert len(found.subjects) == 100
    assert [Path(entry.path).name for entry in found.skipped] == ["broken.wav"]
    assert extract(samples, tmp_path / "cache", quiet).skipped == found.skipped


def test_extract_features_when_over_one_per_cent_is_unreadable_stops(samples, tmp_path, quiet):
    samples[0].path.write_bytes(b"")
    with pytest.raises(TooManyUnreadableError, match=r"1 of 6 samples .*0.wav"):
        extract(samples, tmp_path / "cache", quiet)


def test_extract_features_when_a_file_is_gone_while_it_embeds_lists_it_and_embeds_it_once_it_is_back(tmp_path, quiet):
    write_voices(tmp_path / "clips", range(1), 100, seconds=0.5)
    samples = [Sample(path, "c/0", "d") for path in sorted((tmp_path / "clips").rglob("*.wav"))]
    hashes = hash_files(samples, quiet)
    gone = samples[40].path.rename(tmp_path / "gone.wav")
    for _ in range(2):
        found = extract_features(samples, TinyBackbone(), tmp_path / "cache", quiet, LIMITS, hashes=hashes)
        assert [entry.path for entry in found.skipped] == [str(samples[40].path)]
        assert "No such file" in found.skipped[0].reason
        assert found.paths == tuple(str(sample.path) for sample in samples if sample is not samples[40])
    gone.rename(samples[40].path)
    backbone = Counting()
    whole = extract(samples, tmp_path / "cache", quiet, backbone)
    assert backbone.seen == [2, int(whole.window_counts[40])]
    assert whole.skipped == ()
    assert np.allclose(whole.windows, extract(samples, tmp_path / "elsewhere", quiet).windows, atol=1e-6)


def test_extract_features_when_all_files_were_gone_for_a_while_goes_on_with_the_next_run(samples, tmp_path, quiet):
    hashes = hash_files(samples, quiet)
    (tmp_path / "clips").rename(tmp_path / "gone")
    with pytest.raises(TooManyUnreadableError, match="6 of 6 samples"):
        extract_features(samples, TinyBackbone(), tmp_path / "cache", quiet, LIMITS, hashes=hashes)
    (tmp_path / "gone").rename(tmp_path / "clips")
    expected = extract(samples, tmp_path / "elsewhere", quiet)
    assert np.array_equal(extract(samples, tmp_path / "cache", quiet).windows, expected.windows)


def test_extract_features_when_a_file_changes_after_it_was_hashed_keeps_nothing_of_it(samples, tmp_path, quiet):
    expected = np.array(extract(samples, tmp_path / "elsewhere", quiet).windows)
    hashes = hash_files(samples, quiet)
    original = samples[0].path.read_bytes()
    samples[0].path.write_bytes(samples[1].path.read_bytes())
    with pytest.raises(TooManyUnreadableError, match=r"1 of 6 samples .*0.wav: The file changed"):
        extract_features(samples, TinyBackbone(), tmp_path / "cache", quiet, LIMITS, hashes=hashes)
    samples[0].path.write_bytes(original)
    assert np.allclose(extract(samples, tmp_path / "cache", quiet).windows, expected, atol=1e-6)


def test_extract_features_when_a_list_is_known_calls_skipped_clips_as_they_are_called_now(tmp_path, quiet):
    write_voices(tmp_path / "clips", range(1), 100, seconds=0.5)
    (tmp_path / "clips/p000/broken.wav").write_bytes(b"RIFF nothing")
    for name in ("clips", "moved"):
        if name == "moved":
            (tmp_path / "clips").rename(tmp_path / "moved")
        samples = [Sample(path, "c/0", "d") for path in sorted((tmp_path / name).rglob("*.wav"))]
        found = extract(samples, tmp_path / "cache", quiet)
        assert [entry.path for entry in found.skipped] == [str(tmp_path / name / "p000/broken.wav")]


def test_extract_features_of_a_mel_matrix_refuses_before_anything_is_read(tmp_path, quiet):
    np.save(tmp_path / "mel.npy", np.zeros((80, 300), np.float32))
    with pytest.raises(FeatureError, match="mel matrix"):
        extract([Sample(tmp_path / "mel.npy", "c/0", "d")], tmp_path / "cache", quiet)


def test_extract_features_when_the_backbone_takes_something_else_refuses(samples, tmp_path, quiet):
    wrong = TinyBackbone(input=TINY_INPUT.model_copy(update={"window_samples": 1000}))
    with pytest.raises(FeatureError, match=r"\(1000,\)"):
        extract(samples, tmp_path / "cache", quiet, wrong)
    with pytest.raises(FeatureError, match="25 components"):
        extract(samples, tmp_path / "cache", quiet, TinyBackbone(embedding_dim=25))


def test_extract_features_of_nothing_refuses(tmp_path, quiet):
    with pytest.raises(FeatureError, match="no samples"):
        extract([], tmp_path / "cache", quiet)


def test_whole_feature_file_when_the_disk_is_full_leaves_no_partial_file(tmp_path):
    def fill(path):
        with atomic_feature_file(path) as partial:
            partial.write_bytes(b"half")
            raise_disk_full()

    with pytest.raises(DiskFullError, match="Free some space"):
        fill(tmp_path / "shard")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full (Linux)")
def test_keep_shard_on_a_full_device_names_the_disk(tmp_path):
    cache = FeatureCache(tmp_path, {"key": 1})
    cache.open()
    clips, rows = [("0" * 64, 0, 1)], [np.zeros((2, 3), np.float32)]
    cache.keep_shard(clips, rows, 3)
    (shard,) = (cache.path / "shards").iterdir()
    (shard / "index.json").unlink()
    (shard / ".windows.npy.partial").symlink_to("/dev/full")
    with pytest.raises(DiskFullError):
        cache.keep_shard(clips, rows, 3)
    assert not cache.find(set(clips))


def test_join_features_of_different_widths_refuses(samples, tmp_path, quiet):
    found = extract(samples, tmp_path / "cache", quiet)
    with pytest.raises(FeatureError, match="one backbone"):
        join_features([found, replace(found, windows=found.windows[:, :3])])


def test_select_keeps_the_windows_of_the_chosen_clips(samples, tmp_path, quiet):
    found = extract(samples, tmp_path / "cache", quiet)
    kept = found.select(np.array([False, True, False, False, True, False]))
    assert np.array_equal(kept.pooled(), found.pooled()[[1, 4]])
    assert kept.subjects == (found.subjects[1], found.subjects[4])
