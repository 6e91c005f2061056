"""Two linear layers with a nonlinearity between: the only family that is not affine."""

from typing import Literal

import torch
from pydantic import Field

from matchka_train.projections.trainable import TrainableProjection
from matchka_train.strict_model import StrictModel


class MlpRecipe(StrictModel):
    """BatchNorm1d -> Linear -> ReLU -> dropout -> Linear, from a random start.

    Attributes:
        hidden: width between the layers.
        dropout: share of hidden components dropped in training.
    """

    family: Literal["mlp"] = "mlp"
    hidden: int = Field(default=512, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)


class MlpProjection(TrainableProjection):
    """Every window is projected by itself; a clip's embedding is the mean of its windows' projections."""

    is_affine = False

    def __init__(self, in_dim: int, full_dim: int, recipe: MlpRecipe) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(in_dim)
        self.first = torch.nn.Linear(in_dim, recipe.hidden)
        self.dropout = torch.nn.Dropout(recipe.dropout)
        self.second = torch.nn.Linear(recipe.hidden, full_dim)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Project: (rows, in_dim) -> (rows, full_dim)."""
        hidden = torch.relu(self.first(self.norm(embeddings)))
        projected: torch.Tensor = self.second(self.dropout(hidden))
        return projected

    def exported(self) -> torch.nn.Module:
        """A frozen copy with the normalisation's running statistics."""
        copy = MlpProjection(
            self.first.in_features,
            self.second.out_features,
            MlpRecipe(hidden=self.first.out_features, dropout=self.dropout.p),
        )
        copy.load_state_dict(self.state_dict())
        return copy.requires_grad_(requires_grad=False).eval()
