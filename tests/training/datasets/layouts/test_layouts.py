"""Every layout read from a folder written by hand; the rows expected are written by hand too."""

import numpy as np
import pytest

from matchka_train.datasets.layouts.cnceleb import read_cnceleb
from matchka_train.datasets.layouts.csv import read_manifest
from matchka_train.datasets.layouts.folder import read_folders, read_voxceleb
from matchka_train.datasets.layouts.kaldi import read_kaldi
from matchka_train.datasets.reader import read_dataset, read_pairs
from matchka_train.datasets.recipe import DatasetRecipe
from matchka_train.datasets.sample import Sample
from matchka_train.datasets.splits import identity_fold, require_disjoint, require_identities
from matchka_train.datasets.trial_list import read_trials
from matchka_train.errors import DatasetError, IdentityOverlapError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def relative(root, clips):
    return [(str(path.relative_to(root)), identity) for path, identity in clips]


def test_read_folders_takes_clips_at_any_depth_and_leaves_other_files(tmp_path):
    touch(tmp_path, "ann/1.wav", "ann/more/2.FLAC", "bob/1.opus", "bob/notes.txt", "loose.wav")
    expected = [("ann/1.wav", "ann"), ("ann/more/2.FLAC", "ann"), ("bob/1.opus", "bob")]
    assert relative(tmp_path, read_folders(tmp_path)) == expected


def test_read_folders_takes_pictures_only_where_there_is_no_clip(tmp_path):
    touch(tmp_path / "faces", "ann/1.jpg", "bob/more/2.PNG", "bob/notes.txt")
    assert relative(tmp_path / "faces", read_folders(tmp_path / "faces")) == [
        ("ann/1.jpg", "ann"),
        ("bob/more/2.PNG", "bob"),
    ]
    touch(tmp_path / "voices", "ann/1.wav", "ann/cover.jpg")
    assert relative(tmp_path / "voices", read_folders(tmp_path / "voices")) == [("ann/1.wav", "ann")]


def test_read_voxceleb_finds_identities_below_wav_and_ignores_other_folders(tmp_path):
    touch(tmp_path, "wav/id10001/vid_a/00001.wav", "wav/id10002/vid_b/00002.wav", "wav/idea/x/1.wav")
    expected = [("wav/id10001/vid_a/00001.wav", "id10001"), ("wav/id10002/vid_b/00002.wav", "id10002")]
    assert relative(tmp_path, read_voxceleb(tmp_path)) == expected


def test_read_voxceleb_of_m4a_says_how_to_convert(tmp_path):
    touch(tmp_path, "dev/aac/id00012/v/00001.m4a")
    with pytest.raises(DatasetError, match="ffmpeg"):
        read_voxceleb(tmp_path)


def test_read_cnceleb_takes_the_identity_from_the_folder_or_the_name(tmp_path):
    touch(tmp_path, "data/id00010/singing-01-001.flac", "eval/test/id00800-speech-01-001.wav", "eval/lists/trials.lst")
    expected = [("data/id00010/singing-01-001.flac", "id00010"), ("eval/test/id00800-speech-01-001.wav", "id00800")]
    assert relative(tmp_path, read_cnceleb(tmp_path)) == expected


def test_read_kaldi_joins_its_two_files(tmp_path):
    (tmp_path / "wav.scp").write_text("u1 clips/one two.wav\nu2 /data/2.wav\n\nunused x.wav\n")
    (tmp_path / "utt2spk").write_text("u2 spk9\nu1 spk1\n")
    clips = read_kaldi(tmp_path)
    assert [(str(path), who) for path, who in clips] == [
        ("/data/2.wav", "spk9"),
        (str(tmp_path / "clips/one two.wav"), "spk1"),
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"wav.scp": "u1 cat x.wav |\n", "utt2spk": "u1 s\n"}, "never run"),
        ({"wav.scp": "u1 x.wav\n", "utt2spk": "u2 s\n"}, "not in wav.scp"),
        ({"wav.scp": "u1\n", "utt2spk": "u1 s\n"}, "Line 1"),
        ({"wav.scp": "u1 a.wav\nu1 b.wav\n", "utt2spk": "u1 s\n"}, "Line 2"),
        ({"utt2spk": "u1 s\n"}, "cannot be read"),
        ({"wav.scp": "u1 x.wav\n", "utt2spk": "u1 s\n", "segments": ""}, "segments"),
    ],
)
def test_read_kaldi_of_a_bad_folder_says_what_is_wrong(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_kaldi(tmp_path)


def test_read_manifest_keeps_rows_that_match_and_names_a_missing_column(tmp_path):
    (tmp_path / "m.csv").write_text("file,who,split\na.wav,ann,train\nb.wav,bob,dev\n")
    assert relative(tmp_path, read_manifest(tmp_path / "m.csv", "file", "who", {"split": "dev"})) == [("b.wav", "bob")]
    with pytest.raises(DatasetError, match=r"file, who, split.*speaker"):
        read_manifest(tmp_path / "m.csv", "file", "speaker", {})
    with pytest.raises(DatasetError, match="cannot be read"):
        read_manifest(tmp_path / "absent.csv", "file", "who", {})


@pytest.mark.parametrize("reader", [read_folders, read_voxceleb, read_cnceleb])
def test_readers_of_no_folder_and_of_an_empty_one_refuse(tmp_path, reader):
    with pytest.raises(DatasetError, match="no such folder"):
        reader(tmp_path / "absent")
    with pytest.raises(DatasetError, match="no clip"):
        reader(tmp_path)


def folder_recipe(root, **values):
    return DatasetRecipe(corpus="c", domain="d", layout="folder", path=root, **values)


def test_read_dataset_with_parts_gives_every_part_of_every_clip(tmp_path):
    touch(tmp_path, "ann/1.wav", "bob/1.wav")
    found = [
        (s.path.parent.name, s.subject, s.domain, s.part, s.parts)
        for s in read_dataset(folder_recipe(tmp_path, clip_parts=2))
    ]
    assert found == [
        ("ann", "c/ann", "d", 0, 2),
        ("ann", "c/ann", "d", 1, 2),
        ("bob", "c/bob", "d", 0, 2),
        ("bob", "c/bob", "d", 1, 2),
    ]


def test_read_dataset_of_one_identity_refuses_and_names_it(tmp_path):
    touch(tmp_path, "ann/1.wav", "ann/2.wav")
    with pytest.raises(DatasetError, match="c/ann"):
        read_dataset(folder_recipe(tmp_path))


def test_require_identities_when_nobody_has_two_samples_refuses(tmp_path):
    touch(tmp_path, "ann/1.wav", "bob/1.wav")
    with pytest.raises(DatasetError, match="second sample"):
        require_identities([Sample(path, who, "d") for path, who in read_folders(tmp_path)])


def test_identity_folds_share_nobody_and_together_hold_everybody(tmp_path):
    samples = [Sample(tmp_path / f"{n}", f"s{n % 10}", "d") for n in range(40)]
    folds = [identity_fold(samples, fold, 3, seed=5) for fold in range(3)]
    people = [{sample.subject for sample in fold} for fold in folds]
    assert sorted(len(fold) for fold in people) == [3, 3, 4]
    assert set.union(*people) == {f"s{n}" for n in range(10)}
    assert sum(map(len, people)) == 10
    assert folds == [identity_fold(samples, fold, 3, seed=5) for fold in range(3)]


def test_require_disjoint_names_the_identities_in_both(tmp_path):
    train = [Sample(tmp_path / "1", "c/ann", "d"), Sample(tmp_path / "2", "c/bob", "d")]
    with pytest.raises(IdentityOverlapError, match=r"1 identities .*c/bob"):
        require_disjoint(train, [Sample(tmp_path / "3", "c/bob", "d"), Sample(tmp_path / "4", "c/eve", "d")])


def test_require_disjoint_when_one_file_has_two_names_refuses(tmp_path):
    touch(tmp_path, "x.wav")
    (tmp_path / "link.wav").symlink_to(tmp_path / "x.wav")
    with pytest.raises(IdentityOverlapError, match=r"x\.wav"):
        require_disjoint([Sample(tmp_path / "x.wav", "c/ann", "d")], [Sample(tmp_path / "link.wav", "e/ann", "d")])


@pytest.fixture
def clips(tmp_path):
    names = ["id10001/v/1.wav", "id10001/w/1.wav", "id10002/v/1.wav"]
    return [Sample(tmp_path / name, f"c/{name[:7]}", "d") for name in names]


@pytest.mark.parametrize(
    "text",
    [
        "1 id10001/v/1.wav id10001/w/1.wav\n0 id10001/v/1.wav id10002/v/1.wav\n",
        "id10001/v/1.wav id10001/w/1.wav target\nid10001/v/1 id10002/v/1.wav nontarget\n",
    ],
)
def test_read_trials_in_both_orders_finds_the_samples(tmp_path, clips, text):
    (tmp_path / "trials.txt").write_text(text)
    assert np.array_equal(read_trials(tmp_path / "trials.txt", clips), [[0, 1], [0, 2]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("1 id10001/v/1.wav\n", "Line 1"),
        ("1 id10001/v/1.wav id10009/v/1.wav\n", "no clip"),
        ("1 v/1.wav id10001/w/1.wav\n", "2 clips"),
        ("1 id10001/v/1.wav id10002/v/1.wav\n", "contradicts"),
    ],
)
def test_read_trials_of_a_bad_list_names_the_line(tmp_path, clips, text, message):
    (tmp_path / "trials.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_trials(tmp_path / "trials.txt", clips)


def test_read_pairs_draws_balanced_pairs_when_asked(tmp_path):
    samples = [Sample(tmp_path / f"{n}", f"s{n % 4}", "d") for n in range(16)]
    pairs = read_pairs(folder_recipe(tmp_path, balanced_pairs=5), samples, seed=0)
    assert [samples[a].subject == samples[b].subject for a, b in pairs] == [True] * 5 + [False] * 5
    assert read_pairs(folder_recipe(tmp_path), samples, seed=0) is None
