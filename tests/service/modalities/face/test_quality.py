"""The figures of a chip are those of its grey values, worked out pixel by pixel."""

import statistics

import numpy as np
import pytest
from PIL import Image

from matchka.modalities.face.alignment import SimilarityTransform
from matchka.modalities.face.detection import Face
from matchka.modalities.face.quality import measure_quality

CHIP_PX = 24
LANDMARKS = np.array([[8, 9], [16, 9], [12, 13], [9, 17], [15, 17]], np.float32)


def chip(lowest: int) -> np.ndarray:
    """Noise between a grey level and white, whose colours add up to more than a byte holds."""
    return np.random.default_rng(2).integers(lowest, 256, (CHIP_PX, CHIP_PX, 3)).astype(np.uint8)


@pytest.mark.parametrize("lowest", [0, 200])
def test_measure_quality_of_noise_has_the_contrast_and_sharpness_of_the_mean_of_its_colours(lowest: int) -> None:
    pixels = chip(lowest)
    face = Face(np.array([0, 0, CHIP_PX, CHIP_PX], np.float32), LANDMARKS, 1.0)
    image = Image.fromarray(pixels)
    measured = measure_quality(face, pixels, SimilarityTransform(1 + 0j, 0j), image)
    grey = [[sum(colours) / 3 for colours in row] for row in pixels.tolist()]
    edges = [
        grey[y - 1][x] + grey[y + 1][x] + grey[y][x - 1] + grey[y][x + 1] - 4 * grey[y][x]
        for y in range(1, CHIP_PX - 1)
        for x in range(1, CHIP_PX - 1)
    ]
    contrast = statistics.pstdev(value for row in grey for value in row)
    assert measured.contrast == pytest.approx(contrast, rel=1e-12)
    assert measured.sharpness == pytest.approx(statistics.pstdev(edges) / contrast, rel=1e-12)
    assert measured.visible == 1
