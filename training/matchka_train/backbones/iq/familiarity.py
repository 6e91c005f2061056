"""How much a window resembles the modulations a network knows: one number, higher for those it knows."""

from typing import Final

import torch
from torch import Tensor, nn

SMALLEST_DEVIATION: Final = 1e-4


class Familiarity(nn.Module):
    """The negative squared Mahalanobis distance to the nearest class, with one covariance for all classes.

    It is taken of what the last layer sees rather than of its features: those keep what tells the known classes apart,
    and little of what shows that a window is of none.

    Args:
        classes: how many.
        width: components that a network pools.

    Source: Lee et al. 2018, A Simple Unified Framework for Detecting Out-of-Distribution Samples, arXiv:1807.03888.
    """

    whitening: Tensor
    means: Tensor

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        # 16 bits are enough for distances, and half of the file would be these otherwise
        self.register_buffer("whitening", torch.eye(width, dtype=torch.float16))
        self.register_buffer("means", torch.zeros(classes, width))

    def forward(self, pooled: Tensor) -> Tensor:
        """(n, width) -> (n, 1), in components: -1 is as far as a window of a known class is on average."""
        white = pooled @ self.whitening.float()
        distances = ((white[:, None, :] - self.means) ** 2).mean(dim=2)
        return -distances.amin(dim=1, keepdim=True)


def fit_familiarity(pooled: Tensor, classes: Tensor, count: int, shrinkage: float = 0.05) -> Familiarity:
    """Fit means and covariance.

    Args:
        pooled: (n, width).
        classes: (n,), each of `count` classes at least once.
        count: of classes.
        shrinkage: share of the correlations that is taken away, so that no direction counts without limit.
    """
    fitted = Familiarity(count, pooled.shape[1])
    pooled = pooled.double()
    means = torch.stack([pooled[classes == number].mean(dim=0) for number in range(count)])
    centred = pooled - means[classes]
    deviations = centred.pow(2).mean(dim=0).sqrt().clamp(min=SMALLEST_DEVIATION)
    standard = centred / deviations
    correlations = (1 - shrinkage) * standard.T @ standard / len(pooled)
    correlations += shrinkage * torch.eye(pooled.shape[1], dtype=torch.float64)
    values, vectors = torch.linalg.eigh(correlations)
    whitening = ((vectors / values.sqrt() @ vectors.T) / deviations[:, None]).half()
    fitted.whitening.copy_(whitening)
    fitted.means.copy_(means @ whitening.double())
    return fitted
