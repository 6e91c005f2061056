"""Quality of a face: size, sharpness, pose, visible share."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from matchka.modalities.face.alignment import SimilarityTransform
from matchka.modalities.face.detection import Face
from matchka.modalities.face.pyramid import PixelArray


@dataclass(frozen=True)
class Quality:
    """Figures that say whether a face can be compared.

    Attributes:
        eye_distance_px: between the eye centres in the image; the chip shows 54 px.
        sharpness: standard deviation of the chip's Laplacian over that of its grey values, 0..1 or so.
        contrast: standard deviation of the chip's grey values, 0..255.
        yaw: sideways turn; 0 frontal, about +-1 in profile (nose tip between the eyes, relative).
        roll_deg: rotation in the image plane, clockwise positive; alignment removes it.
        visible: fraction of the chip that lies inside the image, 0..1.
    """

    eye_distance_px: float
    sharpness: float
    contrast: float
    yaw: float
    roll_deg: float
    visible: float


def measure_quality(face: Face, chip: PixelArray, similarity: SimilarityTransform, image: Image.Image) -> Quality:
    """Measure a face and its chip.

    Args:
        face: as detected in `image`.
        chip: uint8, (150, 150, 3), aligned.
        similarity: chip -> image.
        image: the picture.
    Returns: the figures; thresholds are the caller's.
    """
    grey = (chip[..., 0].astype(np.uint16) + chip[..., 1] + chip[..., 2]) / 3  # the mean, in an eighth of its time
    laplacian = grey[1:-1, :-2] + grey[1:-1, 2:] + grey[:-2, 1:-1] + grey[2:, 1:-1] - 4 * grey[1:-1, 1:-1]
    contrast = float(grey.std())
    left, right, nose = face.landmarks[:3].astype(np.float64) @ np.array([1, 1j])
    eyes = right - left
    turned = (nose - (left + right) / 2) / eyes if eyes else 0j
    return Quality(
        eye_distance_px=float(abs(eyes)),
        sharpness=float(laplacian.std()) / max(contrast, 1.0),
        contrast=contrast,
        yaw=float(2 * turned.real),
        roll_deg=math.degrees(math.atan2(eyes.imag, eyes.real)),
        visible=_visible_fraction(similarity, image, len(chip)),
    )


def _visible_fraction(similarity: SimilarityTransform, image: Image.Image, side_px: int) -> float:
    """Fraction of a coarse grid of chip points that fall inside the image."""
    steps = (np.arange(15) + 0.5) * side_px / 15
    points = similarity.a * (steps + 1j * steps[:, None]) + similarity.b
    inside = (points.real >= 0) & (points.real <= image.width) & (points.imag >= 0) & (points.imag <= image.height)
    return float(inside.mean())
