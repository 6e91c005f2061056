"""Pictures in HEIC against the pixels that they were made of."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from matchka.errors import (
    FormatNotEnabledError,
    ImageTooLargeError,
    ImageTooThinError,
    MatchkaError,
    NotImageError,
    TruncatedFileError,
)
from matchka.modalities.face.cost import stated_size
from matchka.modalities.face.image import ImageLimits, read_image
from tests.factories.further_formats import MISSING, heic

WITH_HEIC = ImageLimits(25.0, ("heic",))


def picture(width: int = 96, height: int = 64, mode: str = "RGB") -> Image.Image:
    """Soft colours, other in each corner."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    rows = np.dstack([x, y, (1 - x) * y, np.where(x > 0.5, 1.0, 0.4)]) * 255
    return Image.fromarray(rows.round().astype(np.uint8), "RGBA").convert(mode)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.int64)


@pytest.mark.parametrize("options", [{}, {"tile_size": 64}], ids=["whole", "tiles"])
def test_read_image_of_heic_without_loss_gives_the_pixels_within_a_step_of_its_colours(options: dict[str, int]) -> None:
    image = picture(200, 136)
    found = read_image(heic(image, matrix_coefficients=0, **options), WITH_HEIC)
    assert found.mode == "RGB"
    assert np.abs(pixels(found) - pixels(image)).max() <= 2


def test_read_image_of_heic_lays_what_is_clear_over_white() -> None:
    image = picture(mode="RGBA")
    share = pixels(image)[..., 3:] / 255
    expected = pixels(image)[..., :3] * share + 255 * (1 - share)
    found = read_image(heic(image, matrix_coefficients=0), WITH_HEIC)
    assert np.abs(pixels(found) - expected).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_read_image_of_heic_is_turned_once(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    flat = picture()
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    expected = flat if orientation == 1 else flat.transpose(Image.Transpose(turns[orientation]))
    # beside the note, the encoder states it as transformations of its own
    found = read_image(heic(flat, exif=exif.tobytes(), matrix_coefficients=0), WITH_HEIC)
    assert np.abs(pixels(found) - pixels(expected)).max() <= 2


def test_read_image_of_several_pictures_reads_the_main_one() -> None:
    other = Image.new("RGB", (96, 64), (255, 0, 0))
    data = heic(other, picture(), primary_index=1, matrix_coefficients=0)
    assert np.abs(pixels(read_image(data, WITH_HEIC)) - pixels(picture())).max() <= 2


def test_read_image_of_heic_where_it_is_not_named_is_refused_with_the_extra_and_the_setting() -> None:
    with pytest.raises(FormatNotEnabledError) as refused:
        read_image(bytes(4) + b"ftypheic" + bytes(100), ImageLimits(25.0))
    assert "matchka[formats]" in refused.value.remedy
    assert "MATCHKA_FACE__FORMATS=heic" in refused.value.remedy


def test_read_image_of_avif_is_no_picture_that_is_read() -> None:
    with pytest.raises(NotImageError):
        read_image(bytes(4) + b"ftypavif" + bytes(100), WITH_HEIC)


def stating(data: bytes, width: int, height: int) -> bytes:
    """The same file, whose header states another size."""
    at = data.find(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]


@pytest.mark.parametrize(
    ("width", "height", "kind"),
    [(6_000, 5_000, ImageTooLargeError), (2_000, 40, ImageTooThinError), (16, 16, TruncatedFileError)],
)
def test_read_image_of_heic_that_states_another_size_is_refused(
    width: int, height: int, kind: type[MatchkaError]
) -> None:
    with pytest.raises(kind):
        read_image(stating(heic(picture(640, 480)), width, height), WITH_HEIC)


def test_read_image_of_deep_heic_which_decodes_in_much_memory_may_have_fewer_pixels() -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason=MISSING)
    wide = pillow_heif.from_bytes("RGB;16", (1_000, 800), np.full((800, 1_000, 3), 40_000, np.uint16).tobytes())
    file = io.BytesIO()
    wide.save(file, quality=80, chroma=444)
    data = file.getvalue()
    assert read_image(data, ImageLimits(2.0, ("heic",))).size == (1_000, 800)
    with pytest.raises(ImageTooLargeError, match="memory"):
        read_image(data, ImageLimits(0.9, ("heic",)))


def test_read_image_of_every_beginning_of_heic_is_refused() -> None:
    whole = heic(picture())
    for length in range(12, len(whole) - 1, 7):
        with pytest.raises((TruncatedFileError, NotImageError)):
            read_image(whole[:length], WITH_HEIC)


def test_read_image_of_heic_with_changed_bytes_is_a_picture_or_refused_by_name() -> None:
    whole, rng = heic(picture(128, 96), tile_size=64), np.random.default_rng(7)
    for _ in range(100):
        data = np.frombuffer(whole, np.uint8).copy()
        data[rng.integers(0, len(data), rng.integers(1, 8))] = rng.integers(0, 256)
        try:
            image = read_image(data.tobytes(), WITH_HEIC)
        except MatchkaError:
            continue
        assert image.mode == "RGB"


def test_read_image_of_heic_registers_no_opener() -> None:
    read_image(heic(picture()), WITH_HEIC)
    assert "HEIF" not in Image.OPEN


@pytest.mark.parametrize("options", [{}, {"tile_size": 64}], ids=["whole", "tiles"])
def test_stated_size_of_heic_is_that_of_the_picture(options: dict[str, int]) -> None:
    assert stated_size(heic(picture(200, 136), **options)) == (200, 136)
