"""The arrays of a block of references."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from matchka.vectors import FloatArray

# FAISS multiplies rows of 8 components the fastest; longer ones wait for memory anyhow (docs/decisions/189)
FIRST_CUTS: Final = tuple(range(8, 65, 8))

Keys: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Columns:
    """Arrays with an entry for each row that a block has room for.

    Attributes:
        inverse: of the lengths of whole rows.
        discard: forgets what was written to them, when they are given up; None where they are a block's own.
    """

    keys: Keys
    segments: Sequence[FloatArray]
    inverse: FloatArray
    discard: Callable[[], None] | None = None


def cuts_of(full_dim: int) -> list[tuple[int, int]]:
    """First components of the segments of a reference, and those behind their last."""
    stops = list(FIRST_CUTS)
    while stops[-1] < full_dim:
        stops.append(2 * stops[-1])
    stops = [stop for stop in stops if stop < full_dim] + [full_dim]
    return list(zip([0, *stops], stops, strict=False))
