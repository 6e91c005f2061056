"""Batch normalisation and one linear layer: the common MRL head."""

from typing import Literal

import torch
from pydantic import Field

from matchka_train.projections.affine import AffineProjection
from matchka_train.projections.trainable import TrainableProjection, affine_of
from matchka_train.strict_model import StrictModel


class LinearRecipe(StrictModel):
    """BatchNorm1d -> dropout -> Linear, from a random start; folded into one affine map when saved.

    Attributes:
        batch_norm: whether the batch normalisation is there.
        dropout: share of components dropped in training.
    """

    family: Literal["linear"] = "linear"
    batch_norm: bool = True
    dropout: float = Field(default=0.1, ge=0, lt=1)


class LinearProjection(TrainableProjection):
    """With batch normalisation, 1024 -> 256 has 2 * 1024 + 1024 * 256 + 256 = 264,448 trainable parameters."""

    def __init__(self, in_dim: int, full_dim: int, recipe: LinearRecipe) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(in_dim) if recipe.batch_norm else None
        self.dropout = torch.nn.Dropout(recipe.dropout)
        self.linear = torch.nn.Linear(in_dim, full_dim)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Project: (rows, in_dim) -> (rows, full_dim)."""
        normalised = embeddings if self.norm is None else self.norm(embeddings)
        projected: torch.Tensor = self.linear(self.dropout(normalised))
        return projected

    def exported(self) -> AffineProjection:
        """Fold the running statistics of the normalisation into the layer."""
        weight, bias = self.linear.weight.detach(), self.linear.bias.detach()
        if self.norm is None:
            return affine_of(weight, bias)
        assert self.norm.running_mean is not None and self.norm.running_var is not None  # noqa: S101, PT018 - for mypy
        gain = self.norm.weight.detach() / torch.sqrt(self.norm.running_var + self.norm.eps)
        shift = self.norm.bias.detach() - gain * self.norm.running_mean
        return affine_of(weight * gain, bias + weight @ shift)
