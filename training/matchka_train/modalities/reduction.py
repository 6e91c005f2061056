"""Small faces out of large ones: whole pictures made smaller before they are aligned, blurred and compressed."""

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageFilter

from matchka.modalities.face.alignment import extract_chip, fit_similarity
from matchka.modalities.face.pyramid import PixelArray
from matchka.modalities.face.spec import ImageInputSpec
from matchka.vectors import FloatArray
from matchka_train.modalities.photographs import Photograph

FILTERS: Final = (
    Image.Resampling.BICUBIC,
    Image.Resampling.BOX,
    Image.Resampling.LANCZOS,
    Image.Resampling.BILINEAR,
)
SMALLEST_PX: Final = 4


@dataclass(frozen=True)
class Reduction:
    """How a picture is made smaller.

    Attributes:
        native_px: side of the chip in the small picture.
        resampling: of the whole picture; one of FILTERS.
        blur_px: standard deviation in pixels of the small picture, before it is sampled.
        jpeg_quality: None compresses nothing.
        jitter_px: standard deviation of each landmark in the small picture, and of all together.
    """

    native_px: float
    resampling: Image.Resampling = Image.Resampling.BICUBIC
    blur_px: float = 0.0
    jpeg_quality: int | None = None
    jitter_px: float = 0.0


def reduce_picture(image: Image.Image, ratio: float, reduction: Reduction) -> Image.Image:
    """A whole picture made smaller.

    Args:
        image: RGB.
        ratio: of the small picture's side to the large one's, at most 1.
        reduction: how.
    """
    if reduction.blur_px:
        image = image.filter(ImageFilter.GaussianBlur(reduction.blur_px / ratio))
    size = [max(SMALLEST_PX, round(side * ratio)) for side in image.size]
    small = image.resize((size[0], size[1]), reduction.resampling)
    if reduction.jpeg_quality is None:
        return small
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=reduction.jpeg_quality)
    return Image.open(buffer).convert("RGB")


def small_chip(
    photograph: Photograph, spec: ImageInputSpec, reduction: Reduction, generator: np.random.Generator | None = None
) -> tuple[PixelArray, float]:
    """The chip of a photograph that was made smaller before it was aligned, by the landmarks of the large one.

    Args:
        photograph: at full size.
        spec: of the chip.
        reduction: how it is made smaller.
        generator: draws the jitter; needed where there is one.

    Returns: uint8, (chip_px, chip_px, 3), as the service cuts it, and its native_px.
    """
    image = Image.fromarray(photograph.pixels)
    ratio = min(1.0, reduction.native_px / (spec.chip_px * photograph.similarity(spec).scale))
    small = reduce_picture(image, ratio, reduction)
    landmarks = photograph.landmarks * np.array([small.width / image.width, small.height / image.height], np.float32)
    if reduction.jitter_px and generator is not None:
        landmarks = landmarks + _jitter(reduction.jitter_px, generator)
    similarity = fit_similarity(landmarks, spec.template)
    return extract_chip(small, similarity, spec.chip_px, Image.Resampling.BICUBIC), spec.chip_px * similarity.scale


def reduced_chip(chip: PixelArray, side_px: int) -> PixelArray:
    """A chip that was aligned at full size, reduced to a side and enlarged again: better aligned than a face can be."""
    small = Image.fromarray(chip).resize((side_px, side_px), Image.Resampling.BICUBIC)
    return np.asarray(small.resize(chip.shape[1::-1], Image.Resampling.BICUBIC))


def _jitter(deviation_px: float, generator: np.random.Generator) -> FloatArray:
    together, each = generator.normal(0, deviation_px, (1, 2)), generator.normal(0, deviation_px, (5, 2))
    return (together + each).astype(np.float32)
