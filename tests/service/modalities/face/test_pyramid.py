"""Crops and overlaps: what the slow way gives; crops lay the whole box out on grey before they resize it."""

import math

import numpy as np
import pytest
from PIL import Image

from matchka.modalities.face.pyramid import (
    ONET_PX,
    OUTSIDE_GREY,
    OVERLAPS_AT_ONCE,
    RNET_PX,
    SETTINGS,
    crop_squares,
    overlooked_px,
    pyramid_scales,
    suppress_overlaps,
)

WIDTH, HEIGHT = 700, 500


def noise(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8))


def cut_slowly(image: Image.Image, box: np.ndarray, side_px: int) -> np.ndarray:
    x0, y0, x1, y1 = box.tolist()
    if is_inside(image, box):
        small = image.resize((side_px, side_px), Image.Resampling.BILINEAR, box=(x0, y0, x1, y1), reducing_gap=2.0)
        return np.asarray(small)
    left, top = math.floor(x0), math.floor(y0)
    canvas = Image.new("RGB", (math.ceil(x1) - left, math.ceil(y1) - top), (OUTSIDE_GREY,) * 3)
    canvas.paste(image, (-left, -top))
    inner = (x0 - left, y0 - top, x1 - left, y1 - top)
    small = canvas.resize((side_px, side_px), Image.Resampling.BILINEAR, box=inner, reducing_gap=2.0)
    return np.asarray(small)


def is_inside(image: Image.Image, box: np.ndarray) -> bool:
    return bool((box[:2] >= 0).all() and (box[2:] <= image.size).all())


def random_boxes(count: int, least: float, most: float) -> np.ndarray:
    """Squares of any place around the picture, float32."""
    rng = np.random.default_rng(4)
    sides = np.exp(rng.uniform(np.log(least), np.log(most), count))
    corners = rng.uniform(-sides[:, None], [WIDTH, HEIGHT], (count, 2))
    return np.concatenate([corners, corners + sides[:, None]], axis=1).astype(np.float32)


@pytest.mark.parametrize("side_px", [RNET_PX, ONET_PX])
def test_crop_squares_in_and_beyond_the_frame_equals_the_slow_way(side_px: int) -> None:
    image, boxes = noise(), random_boxes(300, 8, 2000)
    crops = crop_squares(image, boxes, side_px).astype(int)
    inside = np.array([is_inside(image, box) for box in boxes])
    assert inside.any()
    assert (~inside & (boxes[:, 2] - boxes[:, 0] > 4 * side_px)).sum() > 50  # shrunk before they are laid on grey
    for crop, box in zip(crops, boxes, strict=True):
        assert np.abs(crop - cut_slowly(image, box, side_px)).max() <= (0 if is_inside(image, box) else 1)


def test_crop_squares_far_larger_than_the_picture_equals_the_slow_way() -> None:
    image = noise(300, 200)
    boxes = np.array([[-900, -1000, 1100, 1000], [-3000, -100, 299.5, 3199.5], [-50, -50, 350, 350]], np.float32)
    for crop, box in zip(crop_squares(image, boxes, ONET_PX), boxes, strict=True):
        assert np.abs(crop.astype(int) - cut_slowly(image, box, ONET_PX)).max() <= 1


def test_crop_squares_beside_the_picture_is_grey() -> None:
    boxes = np.array([[WIDTH + 5, 0, WIDTH + 305, 300], [-4000, -4000, -10, -10], [0, HEIGHT, 20, HEIGHT + 20]])
    assert np.unique(crop_squares(noise(), boxes.astype(np.float32), ONET_PX)).tolist() == [OUTSIDE_GREY]


def suppressed_slowly(boxes: np.ndarray, confidence: np.ndarray, limit: float, of_smaller: bool) -> list[int]:
    kept: list[int] = []
    for n in sorted(range(len(boxes)), key=lambda n: (-confidence[n], n)):
        areas = {m: float(np.prod(boxes[m, 2:] - boxes[m, :2])) for m in (n, *kept)}
        for m in kept:
            sides = np.minimum(boxes[n, 2:], boxes[m, 2:]) - np.maximum(boxes[n, :2], boxes[m, :2])
            shared = float(np.prod(np.maximum(sides, 0)))
            whole = min(areas[n], areas[m]) if of_smaller else areas[n] + areas[m] - shared
            if shared > limit * whole:
                break
        else:
            kept.append(n)
    return kept


@pytest.mark.parametrize("of_smaller", [False, True])
@pytest.mark.parametrize("limit", [0.5, 0.7])
@pytest.mark.parametrize("count", [0, 1, OVERLAPS_AT_ONCE, OVERLAPS_AT_ONCE + 1, 120])
def test_suppress_overlaps_keeps_what_the_definition_keeps_most_confident_first(
    limit: float, of_smaller: bool, count: int
) -> None:
    generator = np.random.default_rng(5)
    corners, sides = generator.integers(0, 30, (count, 2)), generator.integers(10, 40, (count, 1))
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    confidence = generator.integers(0, 40, count).astype(np.float32)  # some are equally sure: the first one goes before
    kept = suppress_overlaps(boxes, confidence, limit, of_smaller=of_smaller)
    assert min(count, 2) <= len(kept) < max(count, 2)
    assert kept.tolist() == suppressed_slowly(boxes, confidence, limit, of_smaller)


def test_overlooked_faces_are_those_below_the_smallest_level_looked_at() -> None:
    assert overlooked_px(1200, 900, SETTINGS, 0) == 0
    assert overlooked_px(1200, 900, SETTINGS, 2) == pytest.approx(75 / 0.709 / 0.709)
    smallest, *_, third = pyramid_scales(1200, 900, SETTINGS)[:3]
    assert overlooked_px(1200, 900, SETTINGS, 2) == pytest.approx(12 / third)
    assert smallest > third
