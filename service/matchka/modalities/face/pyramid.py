"""The windows in which faces are looked for: settings, image pyramid, boxes and crops.

Coordinates as in matchka.modalities.face.detection.
"""

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from matchka.vectors import FloatArray

PixelArray: TypeAlias = NDArray[np.uint8]
Box: TypeAlias = tuple[float, float, float, float]

# Geometry fixed by the published networks.
PNET_WINDOW_PX: Final = 12
PNET_STRIDE_PX: Final = 2
RNET_PX: Final = 24
ONET_PX: Final = 48
# Fills what lies outside the image: zero after the networks' scaling. Measured on tight crops against
# repeated edges, mirror images and black (docs/decisions/040).
OUTSIDE_GREY: Final = 127
OVERLAPS_AT_ONCE: Final = 32  # boxes compared with each other: fewer steps of Python, and no large matrix
REDUCING_GAP: Final = 2.0  # how much finer than a crop the picture is that it is resampled from
BAND_PX: Final = 1 << 20  # pixels put on grey at a time


@dataclass(frozen=True)
class DetectorSettings:
    """What the cascade looks for; the reasons for the values are in docs/decisions/040.

    Attributes:
        min_face_fraction: smallest face (side of its box), as a fraction of the image's short side.
        min_face_px: smallest face in pixels, whatever the image; below about 20 the networks fail.
        max_face_fraction: largest face, as a fraction of the short side; above 1 it leaves the frame.
        pyramid_factor: size of each pyramid level relative to the one before.
        pnet_threshold: confidence a window must have to be kept by the first network.
        rnet_threshold: the same, second network.
        onet_threshold: the same, last network.
        pad_windows: border added to each pyramid level, in windows of 12 px; a face may leave the frame by this much.
        max_level_px: most pixels of a pyramid level, borders aside; of a picture so long that its levels would have
            more, smaller faces are not looked for. Six times as long as wide is still looked at whole.
        max_level_windows: most windows of a level that the first network may propose, best first.
        max_candidates: most windows handed to the second network, best first: bounds time on busy pictures.
        second_look: sides of the crops from which `look_again` reads, relative to the box.
        skipped_levels: how many of the pyramid's finest levels each look leaves out, one look after the other. The
            last one takes them all; what a coarse one sees of the others is the same, number for number.
    """

    min_face_fraction: float = 1 / 12
    min_face_px: float = 20.0
    max_face_fraction: float = 1.5
    pyramid_factor: float = 0.709
    pnet_threshold: float = 0.6
    rnet_threshold: float = 0.7
    onet_threshold: float = 0.7
    pad_windows: float = 0.5
    max_level_px: int = 1 << 17
    max_level_windows: int = 4096
    max_candidates: int = 256
    second_look: tuple[float, ...] = (0.9, 1.0, 1.1)
    skipped_levels: tuple[int, ...] = (0,)


# Two levels less leave a quarter of the first network's pixels and faces of a sixth of the short side
# (docs/decisions/187).
SETTINGS: Final = DetectorSettings(skipped_levels=(2, 0))
# For pictures in which the usual settings find nothing: portraits cut so tightly that the face leaves the frame.
RETRY: Final = DetectorSettings(
    max_face_fraction=2.0, pnet_threshold=0.4, rnet_threshold=0.4, onet_threshold=0.5, pad_windows=1.0
)


@dataclass(frozen=True)
class FaceCandidates:
    """Windows that may hold a face: boxes float32 (n, 4), confidence float32 (n,)."""

    boxes: FloatArray
    confidence: FloatArray

    def take(self, index: NDArray[np.intp]) -> "FaceCandidates":
        """Keep the rows named by `index`, in that order."""
        return FaceCandidates(self.boxes[index], self.confidence[index])


def suppress_overlaps(
    boxes: FloatArray, confidence: FloatArray, limit: float, *, of_smaller: bool = False
) -> NDArray[np.intp]:
    """Keep the most confident of boxes that overlap (non-maximum suppression).

    Args:
        boxes: float32, (n, 4).
        confidence: float32, (n,).
        limit: overlap above which the less confident box goes, 0..1.
        of_smaller: measure the intersection against the smaller box instead of against the union.
    Returns: indices of the kept boxes, most confident first.
    >>> boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]], np.float32)
    >>> suppress_overlaps(boxes, np.array([0.8, 0.9, 0.7], np.float32), 0.5).tolist()
    [1, 2]
    """
    left = np.argsort(-confidence, kind="stable")
    kept: list[NDArray[np.intp]] = []
    while len(left):
        block, left = left[:OVERLAPS_AT_ONCE], left[OVERLAPS_AT_ONCE:]
        suppressed, best = np.zeros(len(block), np.bool_), []
        for number, overlapped in enumerate(_overlaps(boxes[block], boxes[block], limit, of_smaller)):
            if not suppressed[number]:
                best.append(number)
                suppressed |= overlapped
        kept.append(block[best])
        if len(left):
            left = left[~_overlaps(boxes[kept[-1]], boxes[left], limit, of_smaller).any(axis=0)]
    return np.concatenate(kept) if kept else left


def _overlaps(boxes: FloatArray, others: FloatArray, limit: float, of_smaller: bool) -> NDArray[np.bool_]:
    """Which of the other boxes each box overlaps by more than a limit; (boxes, others)."""
    boxes = boxes[:, None]
    areas, other_areas = (
        np.maximum(some[..., 2] - some[..., 0], 0) * np.maximum(some[..., 3] - some[..., 1], 0)
        for some in (boxes, others)
    )
    width = np.minimum(boxes[..., 2], others[:, 2]) - np.maximum(boxes[..., 0], others[:, 0])
    height = np.minimum(boxes[..., 3], others[:, 3]) - np.maximum(boxes[..., 1], others[:, 1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    whole = np.minimum(areas, other_areas) if of_smaller else areas + other_areas - shared
    return np.asarray(shared > limit * whole)


def best_windows(proposed: list[FaceCandidates], most: int) -> FaceCandidates:
    """What the second network looks at. Args: proposed: on each level, the finest first; most: best first."""
    if not proposed:
        return FaceCandidates(np.empty((0, 4), np.float32), np.empty(0, np.float32))
    merged = FaceCandidates(
        np.concatenate([level.boxes for level in proposed]), np.concatenate([level.confidence for level in proposed])
    )
    keep = suppress_overlaps(merged.boxes, merged.confidence, 0.7)
    return merged.take(keep[:most])


def smallest_face_px(width_px: int, height_px: int, settings: DetectorSettings) -> float:
    """Side of the smallest face that is looked for in an image of this size.

    >>> smallest_face_px(1200, 1200, SETTINGS), round(smallest_face_px(20_000, 1000, SETTINGS), 1)
    (100.0, 148.2)
    """
    of_short_side = settings.min_face_fraction * min(width_px, height_px)
    of_level = PNET_WINDOW_PX * math.sqrt(width_px * height_px / settings.max_level_px)
    return max(settings.min_face_px, of_short_side, of_level)


def pyramid_scales(width_px: int, height_px: int, settings: DetectorSettings) -> list[float]:
    """Scales at which a 12-pixel window covers the smallest face, and so on up to the largest.

    Args:
        width_px: image width.
        height_px: image height.
        settings: smallest and largest face, pyramid factor.
    Returns: scales, largest first; at least one.
    """
    smallest = smallest_face_px(width_px, height_px, settings)
    largest = max(settings.max_face_fraction * min(width_px, height_px), smallest)
    levels = 1 + math.floor(math.log(largest / smallest) / -math.log(settings.pyramid_factor))
    return [PNET_WINDOW_PX / smallest * settings.pyramid_factor**level for level in range(levels)]


def overlooked_px(width_px: int, height_px: int, settings: DetectorSettings, skipped_levels: int) -> float:
    """Side of the smallest face that is surely looked for where the finest levels are left out; 0 where none is.

    >>> round(overlooked_px(1200, 1200, SETTINGS, 2)), overlooked_px(1200, 1200, SETTINGS, 0)
    (199, 0.0)
    """
    if skipped_levels == 0:
        return 0.0
    return smallest_face_px(width_px, height_px, settings) / settings.pyramid_factor**skipped_levels


def working_image(image: Image.Image, settings: DetectorSettings) -> Image.Image:
    """Shrink the image by a whole factor as long as its smallest face still fills the last network."""
    factor = math.floor(smallest_face_px(image.width, image.height, settings) / ONET_PX)
    return image.reduce(factor) if factor > 1 else image


def pyramid(working: Image.Image, settings: DetectorSettings) -> list[Image.Image]:
    """The image at every scale, largest first, each made of the one before."""
    levels = [working]
    for scale in pyramid_scales(working.width, working.height, settings):
        size = max(1, round(working.width * scale)), max(1, round(working.height * scale))
        levels.append(levels[-1].resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
    return levels[1:]


def window_grid(width_px: int, height_px: int) -> FloatArray:
    """Where the first network looks in an image of this size: float32, (rows, cols, 4), x0 y0 x1 y1.

    >>> window_grid(14, 12).tolist()
    [[[0.0, 0.0, 12.0, 12.0], [2.0, 0.0, 14.0, 12.0]]]
    """
    counts = (1 + (side - PNET_WINDOW_PX) // PNET_STRIDE_PX for side in (width_px, height_px))
    x, y = np.meshgrid(*(PNET_STRIDE_PX * np.arange(count, dtype=np.float32) for count in counts))
    return np.stack([x, y, x + PNET_WINDOW_PX, y + PNET_WINDOW_PX], axis=-1)


def shift_boxes(boxes: FloatArray, offsets: FloatArray) -> FloatArray:
    """Move each corner by its offset in units of the box's own width and height; both (n, 4)."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return boxes + offsets * np.tile(sides, 2)


def square_boxes(boxes: FloatArray) -> FloatArray:
    """Grow each box to a square around its centre; (n, 4)."""
    centre = (boxes[:, 2:] + boxes[:, :2]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def crop_squares(image: Image.Image, boxes: FloatArray, side_px: int) -> PixelArray:
    """Cut square boxes out and resize them without aliasing; what lies outside the image is mid-grey.

    Args:
        image: RGB.
        boxes: float32, (n, 4), square; may reach beyond the image.
        side_px: rows and columns of each crop.
    Returns: uint8, (n, side_px, side_px, 3).
    """
    strip = Image.new("RGB", (side_px, len(boxes) * side_px))  # one array of all is made faster than one of each
    for number, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        source, box = image, (x0, y0, x1, y1)
        if x0 < 0 or y0 < 0 or x1 > image.width or y1 > image.height:
            source, box = _on_grey(image, box, side_px)
        small = source.resize((side_px, side_px), Image.Resampling.BILINEAR, box=box, reducing_gap=REDUCING_GAP)
        strip.paste(small, (0, number * side_px))
    return np.asarray(strip).reshape(len(boxes), side_px, side_px, 3)


def _on_grey(image: Image.Image, box: Box, side_px: int) -> tuple[Image.Image, Box]:
    """What a box that leaves the image shows, on grey, shrunk by the whole factor that `resize` would begin with.

    The box of a face that fills a picture may have ten times the picture's pixels: only the part of it that lies in the
    image is looked at, a band at a time.

    Returns: a square of at most 2 * REDUCING_GAP * side_px + 1 pixels a side, and the box in it.
    """
    left, top, right, bottom = math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3])
    factor = max(1, int((box[2] - box[0]) / side_px / REDUCING_GAP))
    columns, rows = math.ceil((right - left) / factor), math.ceil((bottom - top) / factor)
    shrunk = Image.new("RGB", (columns, rows), (OUTSIDE_GREY,) * 3)
    first, last = max(0, -left // factor), min(columns, math.ceil((image.width - left) / factor))
    row, end = max(0, -top // factor), min(rows, math.ceil((image.height - top) / factor))
    width = min(last * factor, right - left) - first * factor
    while row < end and first < last:
        next_row = min(end, row + max(1, BAND_PX // (width * factor)))
        height = min(next_row * factor, bottom - top) - row * factor
        band = Image.new("RGB", (width, height), (OUTSIDE_GREY,) * 3)
        band.paste(image, (-left - first * factor, -top - row * factor))
        shrunk.paste(band.reduce(factor), (first, row))
        row = next_row
    x0, y0, x1, y1 = ((side - corner) / factor for side, corner in zip(box, (left, top) * 2, strict=True))
    return shrunk, (x0, y0, x1, y1)
