"""Small faces of photographs: cut as whole pictures are, of the size asked for, and found as the service does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.progress import Progress

from matchka.modalities.face.alignment import extract_chip, fit_similarity
from matchka.modalities.face.look import CloserLook
from matchka.modalities.face.pyramid import DetectorSettings
from matchka_train.backbones.face.dlib import DLIB_INPUT, DlibFace
from matchka_train.backbones.speaker.ge2e import Ge2e
from matchka_train.datasets.content import hash_files
from matchka_train.datasets.sample import Sample
from matchka_train.errors import FeatureError
from matchka_train.modalities import small_faces
from matchka_train.modalities.photographs import Photograph, Photographs, _cut, read_photographs, require_faces
from matchka_train.modalities.reduction import Reduction, reduce_picture, reduced_chip, small_chip
from matchka_train.modalities.small_faces import ALIGNED, FOUND, WHOLE, FaceShrinker, _found_cache
from tests.factories.checkout import ROOT

DOWNLOADS = ROOT / "build" / "downloads"
SIDE = DLIB_INPUT.chip_px


def picture(side: int) -> Image.Image:
    """Smooth, so that resampling it loses little."""
    at = np.linspace(0, 6, side)
    levels = 127 + 60 * np.sin(at)[:, None] * np.cos(1.3 * at)[None, :]
    return Image.fromarray(np.repeat(levels.astype(np.uint8)[..., None], 3, axis=2))


def landmarks(scale: float, left: float, top: float, turn: float = 0.1) -> np.ndarray:
    """Of a face whose chip has this scale in the picture."""
    points = np.asarray(DLIB_INPUT.template_points) @ np.array([1, 1j]) * scale * np.exp(1j * turn) + left + 1j * top
    return np.stack([points.real, points.imag], axis=1).astype(np.float32)


def photograph(scale: float = 0.8, side: int = 300) -> Photograph:
    pixels, points, known = _cut(picture(side), landmarks(scale, 80, 60), DLIB_INPUT)
    return Photograph(pixels, points, "a/b", known)


def test_photograph_of_a_face_has_the_chip_of_the_whole_picture() -> None:
    image, points = picture(300), landmarks(0.8, 80, 60)
    expected = extract_chip(image, fit_similarity(points, DLIB_INPUT.template), SIDE)
    found = photograph()
    assert found.pixels.shape[0] < 300
    assert np.abs(found.chip(DLIB_INPUT).astype(int) - expected).max() <= 1
    assert found.scale == pytest.approx(0.8, rel=1e-3)


def test_photograph_of_a_large_face_keeps_no_more_pixels_than_its_chip_asks_for() -> None:
    found = photograph(scale=2.0, side=700)
    assert max(found.pixels.shape) < 1.6 * SIDE * 1.2
    assert found.scale == pytest.approx(2.0, rel=1e-3)
    assert found.similarity(DLIB_INPUT).scale == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("native_px", [16.0, 24.0, 60.0])
def test_small_chip_shows_the_same_with_fewer_pixels(native_px: float) -> None:
    made = photograph()
    chip, size = small_chip(made, DLIB_INPUT, Reduction(native_px))
    assert size == pytest.approx(native_px, rel=0.04)
    inner = slice(30, 120)
    assert np.abs(chip.astype(int) - made.chip(DLIB_INPUT))[inner, inner].mean() < 6


def test_small_chip_is_never_larger_than_its_photograph() -> None:
    _, size = small_chip(photograph(scale=0.2), DLIB_INPUT, Reduction(100.0))
    assert size == pytest.approx(0.2 * SIDE, rel=0.02)


def test_small_chip_with_jitter_moves_by_the_generator_and_without_one_not_at_all() -> None:
    made, jittered = photograph(), Reduction(16.0, jitter_px=0.5)
    still = small_chip(made, DLIB_INPUT, Reduction(16.0))[0]
    moved = [small_chip(made, DLIB_INPUT, jittered, np.random.default_rng(seed))[0] for seed in (0, 0, 1)]
    assert np.array_equal(moved[0], moved[1])
    assert not np.array_equal(moved[0], moved[2])
    assert np.array_equal(small_chip(made, DLIB_INPUT, jittered)[0], still)


def test_reduce_picture_blurs_and_compresses_where_it_is_asked_to() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 60, 3), dtype=np.uint8)
    plain = np.asarray(reduce_picture(Image.fromarray(noise), 0.5, Reduction(16.0)), float)
    assert plain.shape == (40, 30, 3)
    for change in ({"blur_px": 0.8}, {"jpeg_quality": 5}):
        changed = np.asarray(reduce_picture(Image.fromarray(noise), 0.5, replace(Reduction(16.0), **change)), float)
        assert changed.shape == plain.shape
        assert np.abs(np.diff(changed, axis=0)).mean() < 0.8 * np.abs(np.diff(plain, axis=0)).mean()


def test_reduced_chip_keeps_what_a_few_pixels_can_hold() -> None:
    chip = photograph().chip(DLIB_INPUT)
    assert np.abs(reduced_chip(chip, 24).astype(int) - chip).mean() < 3
    stripes = np.zeros((SIDE, SIDE, 3), np.uint8)
    stripes[::2] = 255
    assert reduced_chip(stripes, 16).std() < 10


@pytest.mark.slow
def test_read_photographs_and_small_faces_of_real_pictures(tmp_path: Path) -> None:
    folder = ROOT / "build" / "samples" / "face"
    paths = sorted(folder.rglob("*.jpg"))
    if not paths:
        pytest.skip("needs the samples of `matchka-export samples`")
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    samples = [Sample(path, path.parent.name, "d") for path in [*paths, bad]]
    backbone = DlibFace(DOWNLOADS)
    with Progress(disable=True) as progress:
        hashes = hash_files(samples, progress)
        bad.unlink()  # read while it is gone, it is told of, and nothing of it is kept
        gone = read_photographs(samples, backbone, tmp_path, hashes, progress)
        assert [(Path(entry.path), "No such file" in entry.reason) for entry in gone.skipped] == [(bad, True)]
        assert list(gone.paths) == paths
        bad.write_bytes(b"another")
        (changed,) = read_photographs(samples, backbone, tmp_path, hashes, progress).skipped
        assert "changed after it was hashed" in changed.reason
        bad.write_bytes(b"no picture")
        found, again = (read_photographs(samples, backbone, tmp_path, hashes, progress) for _ in range(2))
    assert list(found.paths) == paths
    assert [(Path(entry.path), "not a picture" in entry.reason) for entry in found.skipped] == [(bad, True)]
    for one, other in zip(found.read, again.read, strict=True):
        assert np.array_equal(one.pixels, other.pixels)
        assert (one.subject, one.scale) == (other.subject, other.scale)
    shrinker = FaceShrinker.of(backbone)
    for way in (ALIGNED, WHOLE, FOUND):
        small = shrinker.small(found, 32.0, way)
        assert len(small.rows) == len(paths)
        assert np.abs(small.native_px - 32).max() < 4
        full = shrinker.full(found.read)[small.rows]
        assert np.abs(small.chips.astype(int) - full).mean() < 25


@pytest.mark.parametrize(
    ("name", "value"),
    [("MIN_EVIDENCE", 3.9), ("CLOSER", CloserLook(least_px=9.0)), ("RETRY", DetectorSettings()), ("FOUND_FORMAT", "2")],
)
def test_faces_found_by_other_settings_are_kept_under_another_name(
    name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs = Photographs((), (), (), Path("photographs-1.npz"))
    kept = {_found_cache(photographs, size) for size in (16.0, 24.0)}
    monkeypatch.setattr(small_faces, name, value)
    assert len(kept | {_found_cache(photographs, 16.0)}) == 3


def test_require_faces_of_another_backbone_refuses() -> None:
    with pytest.raises(FeatureError, match="Only faces"):
        require_faces(Ge2e(DOWNLOADS))
