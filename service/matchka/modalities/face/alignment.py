"""Alignment: a face's five landmarks -> the chip that the backbone was trained on; the choice of a face; its quality.

Coordinates as in matchka.modalities.face.detection: (0, 0) is the outer corner of the first pixel.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from PIL import Image

from matchka.errors import NoFaceError
from matchka.modalities.face.detection import Face
from matchka.modalities.face.pyramid import PixelArray
from matchka.vectors import FloatArray


@dataclass(frozen=True)
class Template:
    """Where the five MTCNN landmarks lie in a chip, and how much each says about the alignment.

    Attributes:
        points: (5, 2) chip pixels, x y, in the order of `Face.landmarks`.
        weights: (5,), relative weights of the least-squares fit.
    """

    points: tuple[tuple[float, float], ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class SimilarityTransform:
    """Rotation, uniform scale and shift: `image = a * chip + b` on complex numbers x + iy."""

    a: complex
    b: complex

    @property
    def scale(self) -> float:
        """Image pixels per chip pixel."""
        return abs(self.a)


# The five landmarks inside the box that the detector draws around a face, in units of the box's longer side: medians
# over 3,221 photographs (docs/decisions/045). The box is square here, for `look_again` cuts squares.
TYPICAL_LANDMARKS: Final = ((0.340, 0.382), (0.686, 0.382), (0.512, 0.584), (0.363, 0.763), (0.663, 0.764))


def fit_similarity(landmarks: FloatArray, template: Template) -> SimilarityTransform:
    """Least-squares similarity from chip to image (Umeyama 1991 in two dimensions, no reflection).

    Args:
        landmarks: float32, (5, 2), image pixels.
        template: the same points in chip pixels, and their weights.
    Returns: the transform that minimises the weighted squared error in the image.
    Raises: NoFaceError: the landmarks coincide or are not finite.
    >>> square = Template(((0, 0), (2, 0), (1, 1), (0, 2), (2, 2)), (1.0,) * 5)
    >>> turned = fit_similarity(np.array([[3, 1], [3, 5], [1, 3], [-1, 1], [-1, 5]], np.float32), square)
    >>> f"{turned.a:.3f} {turned.b:.3f}"
    '0.000+2.000j 3.000+1.000j'
    """
    image = np.asarray(landmarks, dtype=np.float64) @ np.array([1, 1j])
    chip = np.asarray(template.points, dtype=np.float64) @ np.array([1, 1j])
    weights = np.asarray(template.weights, dtype=np.float64) / sum(template.weights)
    image_mean, chip_mean = weights @ image, weights @ chip
    centred = chip - chip_mean
    a = complex((weights * centred.conj()) @ (image - image_mean) / (weights @ np.abs(centred) ** 2))
    if not np.isfinite(a) or abs(a) == 0:
        raise NoFaceError("The landmarks found do not span a face.", remedy="Send another picture of the face.")
    return SimilarityTransform(a, complex(image_mean - a * chip_mean))


def expected_box(template: Template) -> FloatArray:
    """Where the detector would draw the box of a face that lies in a chip as the template says.

    Args: template: of the chip.
    Returns: float32, (4,), x0 y0 x1 y1 in chip pixels; a square, and it may reach beyond the chip.
    """
    typical = Template(TYPICAL_LANDMARKS, template.weights)
    in_chip = fit_similarity(np.asarray(template.points, dtype=np.float32), typical)
    centre, half = in_chip.a * (0.5 + 0.5j) + in_chip.b, in_chip.scale / 2
    left, top = centre.real - half, centre.imag - half
    return np.array([left, top, left + 2 * half, top + 2 * half], dtype=np.float32)


def extract_chip(
    image: Image.Image,
    similarity: SimilarityTransform,
    side_px: int,
    resampling: Literal[Image.Resampling.BILINEAR, Image.Resampling.BICUBIC] = Image.Resampling.BILINEAR,
) -> PixelArray:
    """Warp the aligned chip out of the image; what lies outside the image is black, as in dlib.

    Where the chip would skip pixels the image is first shrunk by a whole factor, so nothing aliases.

    Args:
        image: RGB.
        similarity: chip -> image, image pixels.
        side_px: rows and columns of the chip.
        resampling: between the image's pixels; small faces lose less by the bicubic one.
    Returns: uint8, (side_px, side_px, 3).
    """
    a, b = similarity.a, similarity.b
    factor = math.floor(abs(a))
    if factor > 1:
        image, corner = _reduced_part(image, similarity, side_px, factor)
        a, b = a / factor, (b - corner) / factor
    coefficients = (a.real, -a.imag, b.real, a.imag, a.real, b.imag)
    chip = image.transform((side_px, side_px), Image.Transform.AFFINE, coefficients, resampling)
    return np.asarray(chip)


def _reduced_part(
    image: Image.Image, similarity: SimilarityTransform, side_px: int, factor: int
) -> tuple[Image.Image, complex]:
    """Cut out what the chip shows and shrink it by `factor`; returns it with its corner x + iy in the image."""
    corners = similarity.b + similarity.a * side_px * np.array([0, 1, 1j, 1 + 1j])
    margin = 2 * factor
    left, top = (max(0, math.floor(v.min()) - margin) for v in (corners.real, corners.imag))
    right = min(image.width, math.ceil(corners.real.max()) + margin)
    bottom = min(image.height, math.ceil(corners.imag.max()) + margin)
    if right <= left or bottom <= top:
        return image, 0j
    return image.reduce(factor, box=(left, top, right, bottom)), complex(left, top)


def prominence(face: Face, width_px: int, height_px: int) -> float:
    """How much a picture is about a face: its side, less half the distance of its centre from the picture's, in pixels.

    It is at most the side: no face can be more prominent than it is large.
    """
    x, y = (face.box[:2] + face.box[2:]) / 2 - np.array([width_px, height_px]) / 2
    return face.side_px - float(np.hypot(x, y)) / 2


def by_prominence(faces: Sequence[Face], width_px: int, height_px: int) -> list[Face]:
    """Order faces by how much the picture is about each: large and central first.

    Args:
        faces: any number.
        width_px: image width.
        height_px: image height.
    """
    return sorted(faces, key=lambda face: prominence(face, width_px, height_px), reverse=True)
