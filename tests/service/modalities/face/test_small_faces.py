"""Small faces: found in an enlarged copy, cut out of the picture itself; beside larger ones nothing changes."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from matchka.bundles.bundle import read_bundle
from matchka.errors import NoFaceError, PoorFaceError, SmallFaceError
from matchka.inference.session import open_ort_session
from matchka.modalities.face.alignment import extract_chip, fit_similarity
from matchka.modalities.face.detection import FaceDetector
from matchka.modalities.face.image import ImageLimits
from matchka.modalities.face.look import look_closer
from matchka.modalities.face.reader import FaceChoice, FaceReader, FaceReading
from matchka.modalities.face.settings import FaceSettings
from matchka.modalities.face.spec import EnhancerSpec, ImageInputSpec
from tests.factories.doubtful_faces import opened
from tests.factories.junk_pictures import junk_pictures, scrambled
from tests.factories.pictures import encoded

BICUBIC = Image.Resampling.BICUBIC
CHOICES: tuple[FaceChoice, ...] = ("dominant", "only", "all")


@pytest.fixture(scope="module")
def detector(models_dir: Path) -> FaceDetector:
    graphs = (open_ort_session(models_dir / "face" / f"{name}.onnx", 1) for name in ("pnet", "rnet", "onet"))
    return FaceDetector(*graphs)


@pytest.fixture(scope="module")
def plain_input(models_dir: Path) -> ImageInputSpec:
    spec = read_bundle(models_dir / "face").manifest.input
    assert isinstance(spec, ImageInputSpec)
    return spec.model_copy(update={"enhancer": None})


@pytest.fixture(scope="module")
def plain(detector: FaceDetector, plain_input: ImageInputSpec) -> FaceReader:
    """Of a bundle that refuses small faces, as all did."""
    return FaceReader(detector, plain_input, ImageLimits(25.0), FaceSettings().face_limits(plain_input))


@pytest.fixture(scope="module")
def reader(detector: FaceDetector, plain_input: ImageInputSpec) -> FaceReader:
    """Of a bundle that reads small faces."""
    spec = plain_input.model_copy(update={"enhancer": EnhancerSpec()})
    return FaceReader(detector, spec, ImageLimits(25.0), FaceSettings().face_limits(spec))


@pytest.fixture(scope="module")
def photographs(face_samples: Path) -> list[Image.Image]:
    return [opened(path) for path in sorted(face_samples.glob("*/*.jpg"))]


def reduced(photograph: Image.Image, reading: FaceReading, side_px: float) -> tuple[Image.Image, float]:
    """The whole photograph, with a face of this size, and how much smaller it is."""
    assert reading.native_px is not None
    by = side_px / reading.native_px
    size = max(16, round(photograph.width * by)), max(16, round(photograph.height * by))
    return photograph.resize(size, BICUBIC), by


def reduced_all(plain: FaceReader, photographs: list[Image.Image], side_px: float) -> Iterator[Image.Image]:
    for photograph in photographs:
        (reading,) = plain.readings_of(photograph, "dominant")
        yield reduced(photograph, reading, side_px)[0]


def test_full_size_faces_are_read_as_by_a_bundle_that_refuses_small_ones(
    plain: FaceReader, reader: FaceReader, photographs: list[Image.Image]
):
    for photograph in photographs:
        for choice in CHOICES:
            before, after = plain.readings_of(photograph, choice), reader.readings_of(photograph, choice)
            assert [one.chip.tobytes() for one in after] == [one.chip.tobytes() for one in before]
            assert [one.quality for one in after] == [one.quality for one in before]
            assert [one.native_px for one in after] == [one.native_px for one in before]


@pytest.mark.parametrize(("side_px", "tolerance"), [(16, 0.12), (24, 0.06), (32, 0.04)])
def test_small_face_is_found_where_it_is_and_cut_out_of_the_picture_itself(
    plain: FaceReader,
    reader: FaceReader,
    plain_input: ImageInputSpec,
    photographs: list[Image.Image],
    side_px: float,
    tolerance: float,
):
    for photograph in photographs:
        (full,) = plain.readings_of(photograph, "dominant")
        picture, by = reduced(photograph, full, side_px)
        (small,) = reader.readings_of(picture, "dominant")
        assert small.face is not None
        assert full.face is not None
        assert small.native_px == pytest.approx(side_px, rel=tolerance)
        np.testing.assert_allclose(small.face.landmarks, full.face.landmarks * by, atol=tolerance * side_px)
        itself = fit_similarity(small.face.landmarks, plain_input.template)
        np.testing.assert_array_equal(small.chip, extract_chip(picture, itself, plain_input.chip_px, BICUBIC))
        assert small.native_px == pytest.approx(itself.scale * plain_input.chip_px)


def test_small_face_in_a_large_picture_is_read_only_where_small_ones_are(
    plain: FaceReader, reader: FaceReader, photographs: list[Image.Image]
):
    # a twentieth of the shorter side: the first look searches for faces of a twelfth and more
    for picture in reduced_all(plain, photographs, 24):
        wide = Image.new("RGB", (640, 480), (110, 120, 130))
        wide.paste(picture, (400, 200))
        with pytest.raises((NoFaceError, PoorFaceError)):
            plain.readings_of(wide, "dominant")
        for choice in CHOICES:
            (small,) = reader.readings_of(wide, choice)
            assert small.native_px == pytest.approx(24, rel=0.08)


def test_face_of_full_size_beside_a_small_one_is_read_alone_as_before(
    plain: FaceReader, reader: FaceReader, photographs: list[Image.Image]
):
    wide = Image.new("RGB", (900, 600), (110, 120, 130))
    wide.paste(photographs[0].resize((400, 500)), (0, 0))
    wide.paste(next(reduced_all(plain, photographs[1:], 20)), (700, 300))
    before, after = plain.readings_of(wide, "all"), reader.readings_of(wide, "all")
    assert [one.chip.tobytes() for one in after] == [one.chip.tobytes() for one in before]


@pytest.mark.parametrize("side_px", [4, 9])
def test_face_smaller_than_any_that_is_read_is_refused(
    plain: FaceReader, reader: FaceReader, photographs: list[Image.Image], side_px: float
):
    for picture in reduced_all(plain, photographs, side_px):
        for choice in CHOICES:
            with pytest.raises((NoFaceError, PoorFaceError)) as refused:
                reader.readings_of(picture, choice)
            assert refused.value.remedy


def test_face_of_16_pixels_is_refused_where_small_ones_are_not_read(plain: FaceReader, photographs: list[Image.Image]):
    for picture in reduced_all(plain, photographs, 16):
        with pytest.raises((NoFaceError, PoorFaceError)):
            plain.readings_of(picture, "dominant")


@pytest.mark.parametrize("side_px", [20, 36, 64, 320])
def test_junk_of_any_size_shows_nobody_to_a_closer_look(reader: FaceReader, side_px: int):
    for one in junk_pictures(135, 5, side_px):
        with pytest.raises(NoFaceError):
            reader.readings_of(one.picture, "all")


@pytest.mark.parametrize(("side_px", "tiles"), [(16, 4), (24, 4), (32, 6)])
def test_small_face_cut_into_blocks_shows_nobody(
    plain: FaceReader, reader: FaceReader, photographs: list[Image.Image], side_px: float, tiles: int
):
    for photograph, picture in zip(photographs, reduced_all(plain, photographs, side_px), strict=True):
        (reading,) = plain.readings_of(photograph, "dominant")
        assert reading.face is not None
        by = picture.width / photograph.width
        box = [round(float(side) * by) for side in reading.face.box]
        face = np.asarray(picture.crop((box[0], box[1], box[2], box[3])).resize((side_px * 2, side_px * 2), BICUBIC))
        blocks = Image.fromarray(scrambled(face, tiles, np.random.default_rng(tiles)))
        for shown in (blocks, blocks.resize((side_px, side_px), BICUBIC)):
            with pytest.raises((NoFaceError, PoorFaceError)):
                reader.readings_of(shown, "all")


@pytest.mark.parametrize("resampling", [BICUBIC, Image.Resampling.BILINEAR])
def test_small_face_that_was_enlarged_before_it_was_sent_counts_as_large(
    plain: FaceReader, reader: FaceReader, photographs: list[Image.Image], resampling: Image.Resampling
):
    """What it was made of is not measured (docs/decisions/136)."""
    for picture in reduced_all(plain, photographs, 16):
        enlarged = picture.resize((picture.width * 6, picture.height * 6), resampling)
        (found,) = reader.readings_of(enlarged, "dominant")
        assert found.native_px == pytest.approx(6 * 16, rel=0.12)
        assert not EnhancerSpec(sizes=((0.0, 40.0),)).covers(found.native_px)
        reader.require_enrollable(found)


@pytest.mark.parametrize("side_px", [5, 8])
def test_face_of_a_few_large_blocks_is_refused_or_counts_as_large(
    plain: FaceReader, reader: FaceReader, photographs: list[Image.Image], side_px: float
):
    for picture in reduced_all(plain, photographs, side_px):
        mosaic = picture.resize((picture.width * 20, picture.height * 20), Image.Resampling.NEAREST)
        with contextlib.suppress(NoFaceError, PoorFaceError):
            (found,) = reader.readings_of(mosaic, "only")
            assert found.native_px == pytest.approx(20 * side_px, rel=0.12)


@pytest.mark.parametrize(("quality", "refused"), [(5, 1), (10, 0)])
def test_small_face_at_a_low_jpeg_quality_keeps_its_size_or_is_refused(
    plain: FaceReader, reader: FaceReader, photographs: list[Image.Image], quality: int, refused: int
):
    sizes: list[float | None] = []
    for picture in reduced_all(plain, photographs, 24):
        with contextlib.suppress(NoFaceError):
            (one,) = reader.read(encoded(picture, "JPEG", quality=quality), "all")
            sizes.append(one.native_px)
    assert len(photographs) - len(sizes) <= refused
    assert sizes == pytest.approx([24] * len(sizes), rel=0.08)


@pytest.mark.parametrize("side_px", [16, 24, 40, 80])
def test_reduced_cartoon_is_refused_or_is_one_face_of_its_size(reader: FaceReader, side_px: int):
    with contextlib.suppress(NoFaceError, PoorFaceError):
        (one,) = reader.read(encoded(cartoon().resize((side_px, side_px), BICUBIC), "PNG"), "all")
        # the square from brow to chin that becomes a chip, of a head that is drawn three quarters of the picture high
        assert one.native_px == pytest.approx(0.68 * side_px, rel=0.08)


def cartoon() -> Image.Image:
    picture = Image.new("RGB", (200, 200), (90, 160, 230))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((40, 30, 160, 180), fill=(250, 210, 150), outline=(0, 0, 0), width=4)
    for x in (75, 125):
        draw.ellipse((x - 14, 75, x + 14, 103), fill=(255, 255, 255), outline=(0, 0, 0), width=3)
        draw.ellipse((x - 5, 84, x + 5, 94), fill=(0, 0, 0))
    draw.polygon([(100, 100), (92, 125), (108, 125)], fill=(230, 170, 110))
    draw.arc((70, 120, 130, 160), 20, 160, fill=(180, 30, 30), width=5)
    return picture


def test_aligned_sample_has_no_native_size_for_nobody_knows_what_it_was_enlarged_from(
    plain: FaceReader, reader: FaceReader, photographs: list[Image.Image]
):
    for photograph in photographs:
        (found,) = plain.readings_of(photograph, "dominant")
        for side_px in (150, 32):
            chip = Image.fromarray(found.chip).resize((side_px, side_px), BICUBIC)
            (aligned,) = reader.readings_of(chip, "aligned")
            assert (aligned.native_px, aligned.enhanced) == (None, False)


def test_picture_too_large_for_small_faces_is_not_looked_at_more_closely(detector: FaceDetector):
    assert look_closer(detector, Image.new("RGB", (6000, 4000))) is None
    assert look_closer(detector, Image.new("RGB", (1920, 1080))) is not None


def test_small_face_is_not_enrolled_unless_the_setting_allows_it(
    detector: FaceDetector, plain_input: ImageInputSpec, plain: FaceReader, photographs: list[Image.Image]
):
    spec = plain_input.model_copy(update={"enhancer": EnhancerSpec()})
    readers = {
        least: FaceReader(detector, spec, ImageLimits(25.0), FaceSettings(min_enrolled_px=least).face_limits(spec))
        for least in (40.0, 20.0, 0.0)
    }
    (picture,) = reduced_all(plain, photographs[:1], 24)
    (small,) = readers[40.0].readings_of(picture, "only")
    with pytest.raises(SmallFaceError, match="covers 24 pixels a side, and 40 are needed") as refused:
        readers[40.0].require_enrollable(small)
    assert "MATCHKA_FACE__MIN_ENROLLED_PX" in refused.value.remedy
    for least in (20.0, 0.0):
        readers[least].require_enrollable(small)
    aligned = FaceReading(small.chip, None, None)
    readers[40.0].require_enrollable(aligned)  # its size is not known
