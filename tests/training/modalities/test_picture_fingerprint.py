"""Copies of pictures are found whatever was done to the file; other pictures are not."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from matchka_train.modalities.picture_fingerprint import copies_among, fingerprint


def as_jpeg(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


@pytest.fixture(scope="module")
def pictures(face_samples: Path) -> dict[str, Image.Image]:
    """Real photographs."""
    return {str(path): Image.open(path).convert("RGB") for path in sorted(face_samples.rglob("*.jpg"))}


def test_bits_say_where_the_next_cell_is_brighter():
    cells = np.random.default_rng(0).integers(0, 256, (16, 17), dtype=np.uint8)
    expected = [int(row[k + 1]) > int(row[k]) for row in cells.tolist() for k in range(16)]
    assert fingerprint(Image.fromarray(cells)).tolist() == expected


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda picture: as_jpeg(picture, 30), id="poor jpeg"),
        pytest.param(lambda picture: picture.resize((96, 96)), id="small"),
        pytest.param(
            lambda picture: picture.convert("L").point(lambda value: int(0.7 * value + 20)), id="grey, duller"
        ),
    ],
)
def test_a_copy_is_found_and_only_that(pictures, change):
    prints = {name: fingerprint(picture) for name, picture in pictures.items()}
    for name, picture in pictures.items():
        found = copies_among(prints | {"copy": fingerprint(change(picture))})
        assert [{copy.first, copy.second} for copy in found] == [{name, "copy"}]


def test_other_pictures_of_the_same_person_are_no_copies(pictures):
    prints = {name: fingerprint(picture) for name, picture in pictures.items()}
    assert copies_among(prints) == []


def test_copies_among_when_there_are_more_than_one_block_finds_the_pairs_that_differ_in_few_bits():
    generator = np.random.default_rng(0)
    prints = {f"{number:04d}": generator.random(256) < 0.5 for number in range(1100)}
    prints["copy"] = prints["0003"] ^ (np.arange(256) < 32)
    prints["other"] = prints["1098"] ^ (np.arange(256) < 33)
    (found,) = copies_among(prints)
    assert ({found.first, found.second}, found.error_rate) == ({"copy", "0003"}, 32 / 256)
    assert copies_among({}) == []
