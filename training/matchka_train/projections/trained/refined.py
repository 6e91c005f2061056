"""A closed-form whitening, refined by training with a pull back to where it started."""

from typing import Literal

import torch
from pydantic import Field

from matchka_train.projections.affine import AffineProjection
from matchka_train.projections.closed_form.whitening import WhiteningRecipe
from matchka_train.projections.trainable import TrainableProjection, affine_of
from matchka_train.strict_model import StrictModel


class RefinedRecipe(StrictModel):
    """y = (I + L) s + e, where s is the start's output; L and e begin at 0.

    Attributes:
        start: the closed form.
        pull: weight of (|L|^2 + |e|^2) / full_dim in the loss: what keeps the other domains.
    """

    family: Literal["refined"] = "refined"
    start: WhiteningRecipe = WhiteningRecipe()
    pull: float = Field(default=1.0, ge=0)


class RefinedProjection(TrainableProjection):
    """An affine map that begins as the closed form and pays for every step away from it.

    Args:
        start: the fitted closed form, scaled so that its outputs have lengths near 1.
        pull: as RefinedRecipe.
    """

    start_weight: torch.Tensor
    start_bias: torch.Tensor

    def __init__(self, start: AffineProjection, pull: float) -> None:
        super().__init__()
        full_dim = start.weight.shape[0]
        self.pull = pull
        self.register_buffer("start_weight", start.weight.clone())
        self.register_buffer("start_bias", start.bias.clone())
        self.turn = torch.nn.Parameter(torch.zeros(full_dim, full_dim))
        self.shift = torch.nn.Parameter(torch.zeros(full_dim))

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Project: (rows, in_dim) -> (rows, full_dim)."""
        started = torch.nn.functional.linear(embeddings, self.start_weight, self.start_bias)
        return started + started @ self.turn.T + self.shift

    def penalty(self) -> torch.Tensor:
        """The squared distance from the start, per component, times the pull."""
        return self.pull * (self.turn.square().sum() + self.shift.square().sum()) / len(self.shift)

    def exported(self) -> AffineProjection:
        """Both maps as one."""
        turn = torch.eye(len(self.shift)) + self.turn.detach()
        return affine_of(turn @ self.start_weight, turn @ self.start_bias + self.shift.detach())
