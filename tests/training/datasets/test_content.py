"""What files hold decides, not what they are called: every way of counting one sample twice is refused."""

import hashlib
from pathlib import Path

import pytest
from rich.progress import Progress

from matchka_train.datasets.content import UNREADABLE, hash_files, read_hashed, require_distinct_content
from matchka_train.datasets.reader import read_dataset
from matchka_train.datasets.recipe import DatasetRecipe
from matchka_train.datasets.sample import Sample
from matchka_train.errors import DatasetError, DuplicateSampleError, FileChangedError, IdentityOverlapError


def write(root: Path, **contents: str) -> dict[str, Path]:
    for name, content in contents.items():
        (root / name).write_text(content)
    return {name: root / name for name in contents}


def check(train: list[list[Sample]], validation: list[list[Sample]]) -> None:
    samples = [sample for part in [*train, *validation] for sample in part]
    require_distinct_content(train, validation, hash_files(samples, Progress(disable=True)))


def test_hash_files_gives_the_sha256_of_each_and_zeros_for_what_is_not_there(tmp_path):
    files = write(tmp_path, a="one", b="two")
    samples = [Sample(files["a"], "c/1", "d"), Sample(files["b"], "c/2", "d"), Sample(tmp_path / "gone", "c/3", "d")]
    assert hash_files(samples, Progress(disable=True)) == {
        files["a"]: hashlib.sha256(b"one").hexdigest(),
        files["b"]: hashlib.sha256(b"two").hexdigest(),
        tmp_path / "gone": UNREADABLE,
    }


def test_read_hashed_gives_the_bytes_that_were_hashed_and_no_others(tmp_path):
    files = write(tmp_path, a="one")
    sha256 = hashlib.sha256(b"one").hexdigest()
    assert read_hashed(files["a"], sha256) == b"one"
    write(tmp_path, a="two")
    with pytest.raises(FileChangedError, match="changed after it was hashed"):
        read_hashed(files["a"], sha256)


def test_training_files_copied_under_other_names_into_validation_are_refused(tmp_path):
    files = write(tmp_path, a="one", b="two", copy="one", c="three")
    train = [Sample(files["a"], "c/ann", "d"), Sample(files["b"], "c/ann", "d")]
    validation = [Sample(files["copy"], "other/nobody", "d"), Sample(files["c"], "other/nobody", "d")]
    with pytest.raises(IdentityOverlapError, match=r"1 files.*a \(c/ann\) = .*copy \(other/nobody\)"):
        check([train], [validation])


def test_one_content_under_two_identities_is_refused(tmp_path):
    files = write(tmp_path, a="one", copy="one")
    samples = [Sample(files["a"], "c/ann", "d"), Sample(files["copy"], "c/bob", "d")]
    with pytest.raises(DuplicateSampleError, match="another identity"):
        check([], [samples])


def test_a_data_set_that_lists_a_sample_twice_is_refused(tmp_path):
    files = write(tmp_path, a="one", copy="one")
    samples = [Sample(files["a"], "c/ann", "d"), Sample(files["copy"], "c/ann", "d")]
    with pytest.raises(DuplicateSampleError, match="listed twice"):
        check([], [samples])


def test_parts_of_a_clip_and_training_sets_that_cut_it_in_other_ways_are_taken(tmp_path):
    files = write(tmp_path, a="one", b="two")
    halves = [Sample(files["a"], "c/ann", "d", part, 2) for part in range(2)]
    thirds = [Sample(files["a"], "c/ann", "d", part, 3) for part in range(3)]
    check([halves, thirds], [[Sample(files["b"], "c/bob", "d", part, 2) for part in range(2)]])


def test_files_that_cannot_be_read_are_no_copies_of_each_other(tmp_path):
    gone = [Sample(tmp_path / name, f"c/{name}", "d") for name in "xyz"]
    check([gone[:2]], [gone[2:]])


@pytest.mark.parametrize("row", ["a.wav,", "a.wav, ", "a.wav", ",ann"])
def test_a_row_without_an_identity_or_a_file_is_refused(tmp_path, row):
    write(tmp_path, **{"a.wav": "one", "b.wav": "two", "clips.csv": f"path,speaker\nb.wav,ann\n{row}\n"})
    recipe = DatasetRecipe(corpus="c", domain="d", layout="csv", path=tmp_path / "clips.csv")
    with pytest.raises(DatasetError, match=r"Sample 2 of .* has no (identity|file)"):
        read_dataset(recipe)


def test_files_that_are_left_out_take_no_part(tmp_path):
    rows = "".join(f"{who}/{clip}.wav,{who}\n" for who in ("ann", "bob") for clip in "123")
    write(tmp_path, **{"clips.csv": "path,speaker\n" + rows})
    left_out = ({"path": "ann/2.wav", "reason": "a cough"}, {"path": "bob/1.wav", "reason": "of ann, too"})
    whole = {"corpus": "c", "domain": "d", "layout": "csv", "path": tmp_path / "clips.csv"}
    kept = read_dataset(DatasetRecipe(**whole, leave_out=left_out))
    assert [sample.path.relative_to(tmp_path).as_posix() for sample in kept] == [
        *("ann/1.wav", "ann/3.wav"),
        *("bob/2.wav", "bob/3.wav"),
    ]


@pytest.mark.parametrize(("name", "count"), [("eve/1.wav", "no"), ("1.wav", "2"), ("nn/1.wav", "no")])
def test_a_file_that_is_left_out_and_is_not_there_or_not_the_only_one_is_refused(tmp_path, name, count):
    write(tmp_path, **{"clips.csv": "path,speaker\nann/1.wav,ann\nann/2.wav,ann\nbob/1.wav,bob\n"})
    recipe = DatasetRecipe(
        corpus="c",
        domain="d",
        layout="csv",
        path=tmp_path / "clips.csv",
        leave_out=({"path": name, "reason": "why not"},),
    )
    with pytest.raises(DatasetError, match=f"names {count} of its files"):
        read_dataset(recipe)
