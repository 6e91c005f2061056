"""Made chips of faces, for machines that hold no pictures."""

from typing import Final

import numpy as np

from matchka.modalities.face.pyramid import PixelArray

EYE: Final = (0.08, 0.04)  # width and height as shares of the chip
MOUTH: Final = (0.16, 0.03)
DARK: Final = ((0.31, 0.3, *EYE), (0.68, 0.3, *EYE), (0.5, 0.71, *MOUTH))


def face_like(chip_px: int, generator: np.random.Generator) -> PixelArray:
    """A chip with the brightness of a face, smooth and with edges: a bright oval, two dark spots, a dark bar.

    Args:
        chip_px: rows and columns.
        generator: draws tint, places and noise.

    Returns: uint8, (chip_px, chip_px, 3).
    """
    y, x = (np.mgrid[0:chip_px, 0:chip_px] + 0.5) / chip_px
    skin = 60.0 + 130.0 * np.exp(-4.0 * ((x - 0.5) ** 2 + 0.7 * (y - 0.55) ** 2))
    for at_x, at_y, width, height in DARK:
        shift = generator.normal(0.0, 0.01, 2)
        skin -= 90.0 * np.exp(-(((x - at_x - shift[0]) / width) ** 2) - ((y - at_y - shift[1]) / height) ** 2)
    tint = generator.uniform(0.7, 1.1, 3)
    noise = generator.normal(0.0, 3.0, (chip_px, chip_px, 3))
    chip: PixelArray = np.clip(skin[:, :, None] * tint + noise, 0, 255).astype(np.uint8)
    return chip
