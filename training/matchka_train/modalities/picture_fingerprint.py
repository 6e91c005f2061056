"""Fingerprints of what a picture looks like: copies are found after another encoding, size, brightness or trimmed edge.

Source: the gradient hash ("dHash") of N. Krawetz 2013, in 16 x 16 cells instead of 8 x 8.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from matchka_train.modalities.copies import Copy

CELLS: Final = 16
# of 256; of 3,222 news photographs the published doubles differ in up to 30 bits, the nearest two others in 42
MOST_DIFFERENT_BITS: Final = 32
BLOCK: Final = 1_024  # pictures compared with all others at a time, which bounds the memory

Bits: TypeAlias = npt.NDArray[np.bool_]


def fingerprint(picture: Image.Image) -> Bits:
    """Whether each of 16 x 16 cells is brighter than its left neighbour.

    Args: picture: upright, of any mode and size.

    Returns: bool, (256,).
    """
    cells = np.asarray(picture.convert("L").resize((CELLS + 1, CELLS), Image.Resampling.BOX), np.int16)
    brighter: Bits = (cells[:, 1:] > cells[:, :-1]).reshape(-1)
    return brighter


def copies_among(fingerprints: Mapping[str, Bits]) -> list[Copy]:
    """All pairs of pictures that are copies of each other; each pair once."""
    keys = sorted(fingerprints)
    if not keys:
        return []
    signs = np.stack([np.where(fingerprints[key], 1, -1) for key in keys]).astype(np.float32)
    size = signs.shape[1]
    found = []
    for start in range(0, len(keys), BLOCK):
        different = (size - signs[start : start + BLOCK] @ signs.T) / 2
        for row, column in np.argwhere(different <= MOST_DIFFERENT_BITS).tolist():
            if start + row < column:
                error_rate = float(different[row, column]) / size
                found.append(Copy(keys[start + row], keys[column], "the same picture", error_rate))
    return found
