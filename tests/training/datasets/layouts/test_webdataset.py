"""Tar files written by hand are read where they lie, and refused where they are cut short or lead elsewhere."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from matchka_train.datasets.content import UNREADABLE, hash_files
from matchka_train.datasets.file_bytes import read_file
from matchka_train.datasets.layouts.webdataset import read_webdataset
from matchka_train.datasets.reader import read_dataset
from matchka_train.datasets.recipe import DatasetRecipe
from matchka_train.datasets.sample import Sample
from matchka_train.errors import DatasetError
from matchka_train.features.extraction import extract_features
from tests.factories.tiny_backbone import TinyBackbone
from tests.factories.voice_folders import write_voices


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def label(who: object) -> bytes:
    return json.dumps({"speaker": who, "text": "said"}).encode()


def test_read_webdataset_groups_files_by_key_and_takes_json_before_cls(tmp_path):
    first = write_tar(
        tmp_path / "000.tar",
        {
            "ann_1.flac": b"clip of ann",
            "ann_1.json": label("ann"),
            "ann_1.cls": b"7",
            "more/ann_1.WAV": b"another",
            "more/ann_1.cls": b"bob\n",
        },
    )
    second = write_tar(
        tmp_path / "001.tar", {"c.txt": b"no clip", "d.json": label(12), "d.jpg": b"picture", "e.cls": b"x"}
    )
    expected = [(first / "ann_1.flac", "ann"), (first / "more/ann_1.WAV", "bob"), (second / "d.jpg", "12")]
    assert read_webdataset(tmp_path, "speaker") == expected
    assert read_webdataset(second, "speaker") == expected[2:]
    assert read_file(first / "more/ann_1.WAV") == b"another"


def test_read_file_reads_plain_files_too_and_says_what_is_not_there(tmp_path):
    archive = write_tar(tmp_path / "a.tar", {"x.wav": b"sound"})
    plain = tmp_path / "x.wav"
    plain.write_bytes(b"plain")
    assert read_file(plain) == b"plain"
    for absent in (tmp_path / "y.wav", archive / "y.wav"):
        with pytest.raises(OSError, match=r"No such file|Not a directory"):
            read_file(absent)


def test_hash_files_hashes_what_lies_in_an_archive(tmp_path, quiet):
    archive = write_tar(tmp_path / "a.tar", {"x.wav": b"sound"})
    samples = [Sample(archive / name, "c/1", "d") for name in ("x.wav", "y.wav")]
    found = hash_files(samples, quiet)
    assert found == {samples[0].path: hashlib.sha256(b"sound").hexdigest(), samples[1].path: UNREADABLE}


@pytest.mark.parametrize("cut", [0.1, 0.45, 0.93, "data", "header", "end"])
def test_read_webdataset_of_an_archive_cut_short_says_how_much_is_whole(tmp_path, cut):
    files = {f"{n}.{kind}": b"x" * 700 for n in range(5) for kind in ("wav", "txt")}
    archive = write_tar(tmp_path / "a.tar", files)
    each = 512 + 1024  # a header, and 700 bytes in blocks of 512
    at = {"data": 4 * each + 600, "header": 4 * each + 100, "end": 10 * each}
    length = at[cut] if isinstance(cut, str) else int(cut * 10 * each)
    archive.write_bytes(archive.read_bytes()[:length])
    with pytest.raises(DatasetError, match=r"a.tar is damaged after \d+ whole files.*move it out"):
        read_webdataset(tmp_path, "speaker")


@pytest.mark.parametrize("name", ["/etc/passwd.wav", "../../a.wav", "a/../../b.wav"])
def test_read_webdataset_refuses_names_that_lead_out(tmp_path, name):
    write_tar(tmp_path / "a.tar", {name: b"x"})
    with pytest.raises(DatasetError, match="leads out"):
        read_webdataset(tmp_path, "speaker")


def test_read_webdataset_takes_no_link_for_a_clip(tmp_path):
    secret = tmp_path / "secret.wav"
    secret.write_bytes(b"secret")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind in (("a.wav", tarfile.SYMTYPE), ("b.wav", tarfile.LNKTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, str(secret)
            tar.addfile(entry)
    assert read_webdataset(tmp_path, "speaker") == []
    with pytest.raises(NotADirectoryError):
        read_file(tmp_path / "a.tar" / "a.wav")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.wav": b"x"}, "no identity"),
        ({"a.wav": b"x", "a.json": b'{"other": 1}'}, "no identity"),
        ({"a.wav": b"x", "a.json": b"{"}, "cannot be read"),
        ({"a.wav": b"x", "a.cls": b"\xff"}, "cannot be read"),
        ({"a.wav": b"x", "a.flac": b"y", "a.cls": b"1"}, "several"),
    ],
)
def test_read_webdataset_of_a_sample_without_one_clip_and_one_identity_refuses(tmp_path, files, message):
    write_tar(tmp_path / "a.tar", files)
    with pytest.raises(DatasetError, match=message):
        read_webdataset(tmp_path, "speaker")


def test_read_webdataset_of_no_archive_or_another_file_refuses(tmp_path):
    with pytest.raises(DatasetError, match="no tar file"):
        read_webdataset(tmp_path, "speaker")
    (tmp_path / "a.tar").write_bytes(b"not one" * 200)
    with pytest.raises(DatasetError, match="damaged after 0"):
        read_webdataset(tmp_path, "speaker")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("a.wav"))
    with pytest.raises(DatasetError, match="there twice"):
        read_webdataset(tmp_path, "speaker")


def test_features_of_archived_clips_equal_those_of_the_same_files(tmp_path, quiet):
    write_voices(tmp_path / "clips", range(2), 2)
    plain = [Sample(path, path.parent.name, "d") for path in sorted((tmp_path / "clips").rglob("*.wav"))]
    files = {}
    for sample in plain:
        key = f"{sample.subject}_{sample.path.stem}"
        files |= {f"{key}.wav": sample.path.read_bytes(), f"{key}.cls": sample.subject.encode()}
    write_tar(tmp_path / "tars" / "0.tar", files)
    recipe = DatasetRecipe(corpus="c", domain="d", layout="webdataset", path=tmp_path / "tars")
    archived = read_dataset(recipe)
    assert [sample.subject for sample in archived] == [f"c/{sample.subject}" for sample in plain]
    found, expected = (
        extract_features(samples, TinyBackbone(), tmp_path / cache, quiet, {"min_speech_s": 0.1})
        for samples, cache in ((archived, "a"), (plain, "b"))
    )
    assert np.array_equal(found.windows, expected.windows)
