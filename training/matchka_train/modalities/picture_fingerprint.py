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

Bits: TypeAlias = npt.NDArray[np.bool_]


def fingerprint(picture: Image.Image) -> Bits:
    """Whether each of 16 x 16 cells is brighter than its left neighbour.

    Args: picture: upright, of any mode and size.

    Returns: bool, (256,).
    """
    cells = np.asarray(picture.convert("L").resize((CELLS + 1, CELLS), Image.Resampling.BOX), np.int16)
    brighter: Bits = (cells[:, 1:] > cells[:, :-1]).reshape(-1)
    return brighter


def copies_of(fingerprints: Mapping[str, Bits], key: str, bits: Bits) -> list[Copy]:
    """The pictures that are copies of one.

    Args:
        fingerprints: what is searched; an entry under the same key is left out.
        key: of the picture.
        bits: its fingerprint.

    Returns: one entry for each copy, the surest first.
    """
    others = [other for other in fingerprints if other != key]
    if not others:
        return []
    different = np.count_nonzero(np.stack([fingerprints[other] for other in others]) != bits, axis=1)
    found = [
        Copy(other, key, "the same picture", float(count) / bits.size)
        for other, count in zip(others, different.tolist(), strict=True)
        if count <= MOST_DIFFERENT_BITS
    ]
    return sorted(found, key=lambda copy: copy.error_rate)
