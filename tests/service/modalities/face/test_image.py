"""Pictures: the same pixels as by hand, upright, and refused before anything is decoded where they cost too much."""

import contextlib
import io
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from matchka.errors import (
    EmptyFileError,
    ImageTooComplexError,
    ImageTooLargeError,
    ImageTooThinError,
    MatchkaError,
    NoFaceError,
    NotImageError,
    TruncatedFileError,
)
from matchka.modalities.face.image import ImageLimits, read_image
from matchka.modalities.face.image_files import MAX_PARTS, MAX_SCANS, MAX_TABLE_BYTES, read_orientation, strip_metadata
from tests.factories.pictures import encoded, png_chunk

LIMITS = ImageLimits(25.0)
WIDTH, HEIGHT = 1300, 1000  # more than a conversion takes at a time
ORIENTATION = 0x0112


def pattern(width: int = WIDTH, height: int = HEIGHT, channels: int = 3) -> np.ndarray:
    """Smooth waves, so that JPEG changes little, and every place differs from every other."""
    y, x, c = np.mgrid[:height, :width, :channels]
    return (127.5 + 127.5 * np.sin(x / (17.0 + 9 * c) + y / 31.0 + c)).astype(np.uint8)


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


def declared(width: int, height: int) -> bytes:
    """A grey PNG that claims a size and holds a thousand bytes of it."""
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(1000), 9))
    return png_header(width, height) + pixels + png_chunk(b"IEND", b"")


def over_white(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:].astype(np.float64) / 255
    return rgba[..., :-1] * alpha + 255 * (1 - alpha)


def palette_with_hole() -> tuple[bytes, np.ndarray]:
    """A palette picture whose third colour is clear, and what it shows over white."""
    places = pattern(channels=1)[..., 0] // 64
    image = Image.frombytes("P", (WIDTH, HEIGHT), places.tobytes())
    colours = np.array([[10, 20, 30], [200, 100, 0], [5, 5, 5], [0, 90, 250]], np.uint8)
    image.putpalette(colours.tobytes())
    shown = colours.copy()
    shown[2] = 255
    return encoded(image, "PNG", transparency=2), shown[places].astype(np.float64)


def lossless_cases() -> dict[str, tuple[bytes, np.ndarray]]:
    rgba, grey = pattern(channels=4), pattern(channels=2)
    wide = pattern(channels=1)[..., 0].astype(np.uint16) * 256 + 77
    rgb_of_grey = np.repeat(grey[..., :1], 3, axis=2)
    return {
        "rgb png": (encoded(Image.fromarray(rgba[..., :3]), "PNG"), rgba[..., :3].astype(np.float64)),
        "rgba png": (encoded(Image.fromarray(rgba), "PNG"), over_white(rgba)),
        "rgba webp": (encoded(Image.fromarray(rgba), "WEBP", lossless=True, exact=True), over_white(rgba)),
        "grey with alpha": (
            encoded(Image.fromarray(grey), "PNG"),
            over_white(np.concatenate([rgb_of_grey, grey[..., 1:]], axis=2)),
        ),
        "16 bit grey": (
            encoded(Image.fromarray(wide), "PNG"),
            np.repeat((wide >> 8)[..., None], 3, axis=2).astype(np.float64),
        ),
        "palette with a clear colour": palette_with_hole(),
        "bmp": (encoded(Image.fromarray(rgba[..., :3]), "BMP"), rgba[..., :3].astype(np.float64)),
        "1 bit": (
            encoded(Image.fromarray(grey[..., 0] > 127), "PNG"),
            np.repeat(np.where(grey[..., :1] > 127, 255.0, 0.0), 3, axis=2),
        ),
    }


LOSSLESS = lossless_cases()


@pytest.mark.parametrize("name", LOSSLESS)
def test_read_image_without_loss_gives_the_pixels_over_white_within_one_step(name: str) -> None:
    data, expected = LOSSLESS[name]
    found = np.asarray(read_image(data, LIMITS), np.float64)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1.0


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"progressive": True, "subsampling": 0}, {"optimize": True}]
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_read_image_of_a_jpeg_full_of_notes_gives_the_pixels_of_the_plain_one(
    mode: str, options: dict[str, Any]
) -> None:
    image = Image.fromarray(pattern()).convert(mode)
    plain = encoded(image, "JPEG", quality=90, **options)
    notes = {
        "exif": Image.Exif().tobytes(),
        "icc_profile": random.Random(1).randbytes(150_000),
        "comment": b"\xff\xd9\xff\xda",
    }
    noted = (
        encoded(image, "JPEG", quality=90, **options, **notes)
        + b"\0\0\0\x18ftypmp42"
        + random.Random(2).randbytes(9999)
    )
    expected = np.asarray(Image.open(io.BytesIO(plain)).convert("RGB"))
    for data in (plain, noted):
        np.testing.assert_array_equal(np.asarray(read_image(data, LIMITS)), expected)
    assert abs(len(strip_metadata(noted).data) - len(plain)) < 100


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_read_image_of_each_orientation_equals_pillows_own_turn(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(Image.fromarray(pattern(60, 40)), kind, exif=exif, lossless=True)
    plain = Image.open(io.BytesIO(encoded(Image.fromarray(pattern(60, 40)), kind, lossless=True))).convert("RGB")
    method = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    expected = plain if method is None else plain.transpose(method)
    np.testing.assert_array_equal(np.asarray(read_image(data, LIMITS)), np.asarray(expected))


def xmp_packet(orientation: str) -> bytes:
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
        + orientation.encode()
        + b"</rdf:Description></rdf:RDF></x:xmpmeta>"
    )


def with_xmp(picture: Image.Image, kind: str, packet: bytes, **options: Any) -> bytes:
    if kind != "PNG":
        return encoded(picture, kind, xmp=packet, **options)
    whole = encoded(picture, kind, **options)
    return whole[:33] + png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet) + whole[33:]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("noted", ['tiff:Orientation="6">', "><tiff:Orientation>6</tiff:Orientation>"])
def test_read_image_of_an_orientation_that_only_xmp_states_is_turned_as_exif_would(kind: str, noted: str) -> None:
    picture = Image.fromarray(pattern(60, 40))
    found = read_image(with_xmp(picture, kind, xmp_packet(noted), lossless=True), LIMITS)
    plain = Image.open(io.BytesIO(encoded(picture, kind, lossless=True))).convert("RGB")
    np.testing.assert_array_equal(np.asarray(found), np.asarray(plain.transpose(Image.Transpose.ROTATE_270)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_read_image_of_exif_and_xmp_that_disagree_goes_by_exif(kind: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 1
    data = with_xmp(Image.fromarray(pattern(60, 40)), kind, xmp_packet('tiff:Orientation="6">'), exif=exif)
    assert read_image(data, LIMITS).size == (60, 40)


def test_read_orientation_of_xmp_behind_its_bound_or_out_of_range_is_upright() -> None:
    assert read_orientation(b"", b" " * 70_000 + xmp_packet('tiff:Orientation="6">')) == 1
    for noted in ("tiff:Orientation='9'>", 'tiff:Orientation="0">', 'tiff:Orientation="66">', 'exif:Orientation="6">'):
        assert read_orientation(b"", xmp_packet(noted)) == 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "format_"), [(1, "Bxxx"), (3, "Hxx"), (4, "I")])
def test_read_orientation_in_either_byte_order_and_each_type_finds_it_behind_other_entries(
    order: str, kind: int, format_: str
) -> None:
    entries = [struct.pack(f"{order}HHII", 0x0100 + n, 3, 1, 5) for n in range(9)]
    entries.append(struct.pack(f"{order}HHI", ORIENTATION, kind, 1) + struct.pack(order + format_, 8))
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(entries))
    block = b"Exif\0\0" + start + b"".join(entries)
    assert read_orientation(block) == 8
    assert read_orientation(block[6:]) == 8
    assert read_orientation(block[:-8]) == 1


@given(st.binary(max_size=200))
def test_read_orientation_of_any_bytes_is_one_of_eight(tail: bytes) -> None:
    for head in (b"", b"Exif\0\0II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"):
        assert read_orientation(head + tail) in range(1, 9)


REFUSED_SIZES: list[tuple[int, int, type[MatchkaError]]] = [
    (1, 1, NoFaceError),
    (15, 15, NoFaceError),
    (15, 300, NoFaceError),
    (16, 321, ImageTooThinError),
    (321, 16, ImageTooThinError),
    (2_000_000, 1, ImageTooThinError),
    (1, 25_000_000, ImageTooThinError),
    (200_000, 20, ImageTooThinError),
    (21_920, 1_094, ImageTooThinError),
    (5_001, 5_001, ImageTooLargeError),
    (30_000, 30_000, ImageTooLargeError),
    (2**31 - 1, 2**31 - 1, ImageTooLargeError),
]


@pytest.mark.parametrize(("width", "height", "error"), REFUSED_SIZES)
def test_read_image_of_a_refused_size_names_it_and_the_remedy(
    width: int, height: int, error: type[MatchkaError]
) -> None:
    with pytest.raises(error) as refused:
        read_image(declared(width, height), LIMITS)
    assert refused.value.remedy
    if width * height < 100e6:  # above, the value is Pillow's own sentence
        assert str(refused.value.value) == f"{width} x {height}"


@pytest.mark.parametrize(("width", "height"), [(16, 16), (16, 320), (320, 16), (40, 24)])
def test_read_image_of_the_smallest_and_the_longest_allowed_is_read(width: int, height: int) -> None:
    picture = Image.fromarray(pattern(width, height))
    np.testing.assert_array_equal(np.asarray(read_image(encoded(picture, "PNG"), LIMITS)), pattern(width, height))


def segment(code: int, content: bytes) -> bytes:
    return bytes((0xFF, code)) + struct.pack(">H", len(content) + 2) + content


def more_scans(count: int) -> bytes:
    """A progressive JPEG whose last pass comes `count` times more."""
    whole = encoded(Image.fromarray(pattern(64, 64)), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * count + whole[-2:]


def jpeg_with(inserted: bytes) -> bytes:
    whole = encoded(Image.fromarray(pattern(64, 64)), "JPEG")
    return whole[:2] + inserted + whole[2:]


def bmp_of_runs() -> bytes:
    palette = b"".join(bytes((i, i, 255 - i, 0)) for i in range(256))
    pixels = b"\x40\x05\0\0" * 64 + b"\0\1"
    offset = 54 + len(palette)
    head = struct.pack("<2sIHHI", b"BM", offset + len(pixels), 0, 0, offset)
    return head + struct.pack("<IiiHHIIiiII", 40, 64, 64, 1, 8, 1, len(pixels), 0, 0, 256, 256) + palette + pixels


TOO_COMPLEX: dict[str, Callable[[], bytes]] = {
    "passes": lambda: more_scans(MAX_SCANS),
    "segments": lambda: jpeg_with(segment(0xE5, b"") * MAX_PARTS),
    "tables": lambda: jpeg_with(segment(0xDB, b"\0" + bytes(range(1, 65))) * (MAX_TABLE_BYTES // 64)),
    "chunks": lambda: png_header(64, 64) + png_chunk(b"abCd", b"") * MAX_PARTS + png_chunk(b"IEND", b""),
    "runs of a bmp": bmp_of_runs,
}


@pytest.mark.parametrize("name", TOO_COMPLEX)
def test_read_image_of_a_file_that_costs_more_than_its_pixels_is_refused(name: str) -> None:
    with pytest.raises(ImageTooComplexError) as refused:
        read_image(TOO_COMPLEX[name](), LIMITS)
    assert refused.value.remedy


def test_read_image_of_a_few_more_passes_and_notes_is_read() -> None:
    for data in (more_scans(5), jpeg_with(segment(0xE5, b"x" * 1000) * 500), jpeg_with(b"\xff" * 100_000)):
        assert read_image(data, LIMITS).size == (64, 64)


def test_read_image_of_a_webp_which_decodes_in_much_memory_may_have_fewer_pixels() -> None:
    data = encoded(Image.fromarray(pattern(1000, 1000)), "WEBP", quality=10, method=0)
    assert read_image(data, ImageLimits(1.7)).size == (1000, 1000)
    with pytest.raises(ImageTooLargeError, match="memory"):
        read_image(data, ImageLimits(1.01))


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_read_image_of_a_progressive_jpeg_that_takes_much_memory_is_half_as_fine_and_as_large_as_it_states(
    mode: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    picture = Image.fromarray(pattern(1001, 777)).convert(mode)
    options = {"progressive": True, "subsampling": 0, "quality": 95, "exif": exif}
    data = encoded(picture, "JPEG", **options)
    whole, half = read_image(data, ImageLimits(5.0)), read_image(data, ImageLimits(0.78))
    assert half.size == whole.size == ((777, 1001) if orientation == 6 else (1001, 777))
    small = whole.resize((whole.width // 2, whole.height // 2), Image.Resampling.BOX)
    slow = np.asarray(small.resize(whole.size, Image.Resampling.BILINEAR), np.float64)
    difference = np.abs(np.asarray(half, np.float64) - slow)
    assert difference.mean() < 1.5
    assert not np.array_equal(np.asarray(half), np.asarray(whole))


@pytest.mark.parametrize(("mode", "orientation", "images"), [("RGB", 1, 1), ("RGB", 6, 2), ("L", 1, 2)])
def test_read_image_of_a_jpeg_holds_its_pixels_once_unless_they_are_converted_or_turned(
    mode: str, orientation: int, images: int
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(Image.fromarray(pattern(600, 400)).convert(mode), "JPEG", exif=exif)
    before = Image.core.get_stats()["new_count"]
    picture = read_image(data, LIMITS)
    assert Image.core.get_stats()["new_count"] - before == images
    with Image.open(io.BytesIO(data)) as plain:
        slow = ImageOps.exif_transpose(plain).convert("RGB")
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(slow))


def test_read_image_of_a_jpeg_with_thumbnails_beside_its_pixels_is_read() -> None:
    thumbnail = segment(0xE0, b"JFXX\0\x13" + bytes(65_000))
    assert read_image(jpeg_with(thumbnail), LIMITS).size == (64, 64)
    assert strip_metadata(jpeg_with(thumbnail * 4)).data == strip_metadata(jpeg_with(b"")).data


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_read_image_of_every_beginning_of_a_file_is_refused_as_cut_short_or_no_picture(kind: str) -> None:
    whole = encoded(Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)), kind)
    with pytest.raises(EmptyFileError):
        read_image(b"", LIMITS)
    for length in range(1, len(whole) - 60, 97):
        with pytest.raises((NotImageError, TruncatedFileError)):
            read_image(whole[:length], LIMITS)


WHOLE = [
    encoded(Image.fromarray(pattern(48, 40)), "JPEG", exif=Image.Exif().tobytes()),
    encoded(Image.fromarray(pattern(48, 40)), "JPEG", progressive=True),
    encoded(Image.fromarray(pattern(48, 40, 4)), "PNG"),
    encoded(Image.fromarray(pattern(48, 40)), "BMP"),
    encoded(Image.fromarray(pattern(48, 40, 4)), "WEBP"),
]


@given(st.sampled_from(WHOLE), st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=8))
def test_read_image_of_a_file_with_changed_bytes_is_a_picture_or_refused_by_name(
    whole: bytes, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(whole)
    for place, value in changes:
        data[place % len(data)] = value
    with contextlib.suppress(MatchkaError):
        image = read_image(bytes(data), LIMITS)
        assert image.mode == "RGB"
        assert min(image.size) >= 16
