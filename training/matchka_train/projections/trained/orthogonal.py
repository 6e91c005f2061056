"""A trained rotation: orthogonal at every step, so that at full dim no cosine can change."""

from typing import Literal

import torch
from torch.nn.utils import parametrizations

from matchka_train.projections.affine import AffineProjection
from matchka_train.projections.trainable import TrainableProjection, affine_of, require_narrower
from matchka_train.strict_model import StrictModel


class OrthogonalRecipe(StrictModel):
    """Starts at the principal axes of the training domains, nothing subtracted."""

    family: Literal["orthogonal"] = "orthogonal"


class OrthogonalProjection(TrainableProjection):
    """weight = orthogonal matrix, kept so by the Cayley map; its first full_dim rows are returned.

    Args:
        axes: the rotation it starts at, (in_dim, in_dim), rows orthonormal.
        full_dim: components returned.

    Raises: ProjectionError: full_dim is more than in_dim.
    """

    def __init__(self, axes: AffineProjection, full_dim: int) -> None:
        super().__init__()
        in_dim = axes.weight.shape[1]
        require_narrower(in_dim, full_dim, "orthogonal")
        self.full_dim = full_dim
        self.rotation = torch.nn.Linear(in_dim, in_dim, bias=False)
        self.register_buffer("start", axes.weight.clone())
        self.start: torch.Tensor
        with torch.no_grad():
            self.rotation.weight.copy_(torch.eye(in_dim))
        parametrizations.orthogonal(self.rotation, orthogonal_map="cayley")

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Rotate and truncate: (rows, in_dim) -> (rows, full_dim)."""
        rotated: torch.Tensor = self.rotation(embeddings @ self.start.T)
        return rotated[:, : self.full_dim]

    def exported(self) -> AffineProjection:
        """The product of both rotations, without an offset."""
        weight = (self.rotation.weight.detach() @ self.start)[: self.full_dim]
        return affine_of(weight, torch.zeros(self.full_dim))
