"""The projection every linear family ends as: one matrix and one offset."""

import numpy as np
import torch

from matchka.vectors import FloatArray
from matchka_train.errors import ProjectionError


class AffineProjection(torch.nn.Module):
    """embedding = weight @ backbone embedding + bias, not rescaled.

    The mean of a clip's projected windows equals the projection of the mean, because the map is affine.

    Args:
        weight: float32, (full_dim, in_dim), finite.
        bias: float32, (full_dim,), finite.

    Raises: ProjectionError: the two do not fit each other, or are not finite.
    """

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, weight: FloatArray, bias: FloatArray) -> None:
        super().__init__()
        if weight.ndim != 2 or bias.shape != (weight.shape[0],):
            raise ProjectionError(
                "weight must be (full_dim, in_dim) and bias (full_dim,).",
                value=(weight.shape, bias.shape),
                remedy="Fit the projection again.",
            )
        if not (np.all(np.isfinite(weight)) and np.all(np.isfinite(bias))):
            raise ProjectionError("The projection holds NaN or infinity.", remedy="Fit it again with a lower rate.")
        self.register_buffer("weight", torch.from_numpy(np.array(weight, np.float32)))
        self.register_buffer("bias", torch.from_numpy(np.array(bias, np.float32)))

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Project: float32, (n, in_dim) -> (n, full_dim)."""
        return torch.nn.functional.linear(embeddings, self.weight, self.bias)
