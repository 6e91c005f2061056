"""A projection for each size: what a linear map can put right, fitted on pairs of small and full size."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from matchka.vectors import FloatArray


@dataclass(frozen=True)
class RidgeFit:
    """Least squares from small to full size, pulled to doing nothing.

    Attributes: matrix: float64, (dim, dim), applied from the right.
    """

    matrix: npt.NDArray[np.floating]

    def apply(self, embeddings: FloatArray) -> FloatArray:
        """Project embeddings, (n, dim)."""
        projected: FloatArray = (embeddings @ self.matrix).astype(np.float32)
        return projected


def fit_ridge(small: FloatArray, full: FloatArray, strength: float) -> RidgeFit:
    """Minimise |small W - full|^2 + strength |W - 1|^2; a greater strength does less.

    >>> one = np.eye(2, dtype=np.float32)
    >>> fit_ridge(one, 2 * one, 1.0).matrix.round(3).tolist()
    [[1.5, 0.0], [0.0, 1.5]]
    """
    given, wanted, one = small.astype(np.float64), full.astype(np.float64), np.eye(small.shape[1])
    return RidgeFit(np.linalg.solve(given.T @ given + strength * one, given.T @ wanted + strength * one))
