"""Pictures of many people, made of photographs of one each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

HEAD_SHARE: Final = 0.68  # of the side of a photograph in the manner of LFW, whose middle shows a head and little else
FACE_OF_HEAD: Final = 0.56  # how much of that the detector's box takes
TRIES: Final = 40


@dataclass(frozen=True)
class Crowd:
    """How many people there are, and how large.

    Attributes:
        least: side of a face, as a share of the picture's shorter side.
        most: likewise; sides are drawn between the two, their logarithms evenly.
        people: most people; fewer where there is no room.
    """

    least: float
    most: float
    people: int


CROWDS: Final = {
    "two alike": Crowd(0.17, 0.4, 2),
    "of any size": Crowd(0.05, 0.5, 8),
    "about a sixth": Crowd(0.13, 0.21, 10),
    "small": Crowd(0.06, 0.15, 16),
}


def group_picture(
    photographs: Sequence[Image.Image], crowd: Crowd, generator: np.random.Generator, size: tuple[int, int]
) -> Image.Image:
    """Heads beside each other, none over another, on a blurred photograph.

    Args:
        photographs: of one person each, square, the face in the middle; drawn at random.
        crowd: how many, how large.
        generator: draws people, sizes and places.
        size: of the picture.
    """
    behind = photographs[int(generator.integers(len(photographs)))].resize((6, 6), Image.Resampling.BOX)
    picture = behind.resize(size, Image.Resampling.BICUBIC)
    taken: list[tuple[int, int, int]] = []
    for _ in range(crowd.people):
        share = np.exp(generator.uniform(np.log(crowd.least), np.log(crowd.most)))
        side = round(float(share) * min(size) / FACE_OF_HEAD)
        if side > min(size):
            side = min(size)
        for _ in range(TRIES):
            left, top = (int(generator.integers(0, whole - side + 1)) for whole in size)
            if all(left + side <= x or x + s <= left or top + side <= y or y + s <= top for x, y, s in taken):
                picture.paste(_head(photographs[int(generator.integers(len(photographs)))], side), (left, top))
                taken.append((left, top, side))
                break
    return picture


def _head(photograph: Image.Image, side: int) -> Image.Image:
    margin = (1 - HEAD_SHARE) / 2 * photograph.width
    box = (margin, margin, photograph.width - margin, photograph.height - margin)
    return photograph.resize((side, side), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
