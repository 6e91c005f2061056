"""How much a window resembles the modulations a network knows: one number, higher for those it knows."""

from typing import Final

import torch
from torch import Tensor, nn

SMALLEST_DEVIATION: Final = 1e-4


class Familiarity(nn.Module):
    """The negative squared Mahalanobis distance to the nearest class, with one covariance for all classes.

    It is taken of the features, which is usual: those of a network that sees spectra show strangers about as well as
    all that they are made of, and modulations near a known one better.

    Args:
        classes: how many.
        width: components of the features.

    Source: Lee et al. 2018, A Simple Unified Framework for Detecting Out-of-Distribution Samples, arXiv:1807.03888.
    """

    whitening: Tensor
    means: Tensor

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.register_buffer("whitening", torch.eye(width))
        self.register_buffer("means", torch.zeros(classes, width))

    def forward(self, features: Tensor) -> Tensor:
        """(n, width) -> (n, 1), in components: -1 is as far as a window of a known class is on average."""
        white = features @ self.whitening
        distances = ((white[:, None, :] - self.means) ** 2).mean(dim=2)
        return -distances.amin(dim=1, keepdim=True)


def fit_familiarity(features: Tensor, classes: Tensor, count: int, shrinkage: float = 0.05) -> Familiarity:
    """Fit means and covariance.

    Args:
        features: (n, width).
        classes: (n,), each of `count` classes at least once.
        count: of classes.
        shrinkage: share of the correlations that is taken away, so that no direction counts without limit.
    """
    fitted = Familiarity(count, features.shape[1])
    features = features.double()
    means = torch.stack([features[classes == number].mean(dim=0) for number in range(count)])
    centred = features - means[classes]
    deviations = centred.pow(2).mean(dim=0).sqrt().clamp(min=SMALLEST_DEVIATION)
    standard = centred / deviations
    correlations = (1 - shrinkage) * standard.T @ standard / len(features)
    correlations += shrinkage * torch.eye(features.shape[1], dtype=torch.float64)
    values, vectors = torch.linalg.eigh(correlations)
    whitening = (vectors / values.sqrt() @ vectors.T) / deviations[:, None]
    fitted.whitening.copy_(whitening)
    fitted.means.copy_(means @ whitening)
    return fitted
