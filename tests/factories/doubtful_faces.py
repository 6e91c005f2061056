"""Photographs of people that a gate for faces may refuse: turned, covered, cut tightly, half in the dark."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from matchka.modalities.face.detection import Face

DoubtfulMaker = Callable[[Image.Image, Face], Image.Image]


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def cut_to_eyes(image: Image.Image, face: Face, eye_distances: float) -> Image.Image:
    """A square around the landmarks, as wide as a number of eye distances."""
    half, (x, y) = eye_distances * _eye_distance(face) / 2, face.landmarks.mean(axis=0).tolist()
    box = int(x - half), int(y - half), int(x + half), int(y + half)
    return image.crop(box).resize((300, 300), Image.Resampling.BICUBIC)


def _covered(image: Image.Image, face: Face) -> Image.Image:
    side, (x, y) = _eye_distance(face), face.landmarks[2].tolist()
    covered = image.copy()
    ImageDraw.Draw(covered).rectangle((x - side, y - 0.1 * side, x + side, y + 1.3 * side), fill=(150, 190, 210))
    return covered


def _half_lit(image: Image.Image, face: Face) -> Image.Image:
    lit = np.where(np.arange(image.width)[None, :] < face.landmarks[2][0], 255, 0).astype(np.uint8)
    mask = Image.fromarray(lit.repeat(image.height, 0))
    return Image.composite(image, ImageEnhance.Brightness(image).enhance(0.12), mask)


def _eye_distance(face: Face) -> float:
    return float(np.hypot(*(face.landmarks[1] - face.landmarks[0])))


DOUBTFUL: Final[dict[str, DoubtfulMaker]] = {
    "as they are": lambda image, _: image,
    "turned by 35 degrees in the plane": lambda image, _: image.rotate(35, Image.Resampling.BICUBIC),
    "lower face covered": _covered,
    "half lit": _half_lit,
    "cut to 2.2 eye distances": lambda image, face: cut_to_eyes(image, face, 2.2),
    "cut to 1.9 eye distances": lambda image, face: cut_to_eyes(image, face, 1.9),
    "cut to 1.6 eye distances": lambda image, face: cut_to_eyes(image, face, 1.6),
}
