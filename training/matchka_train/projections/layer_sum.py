"""Learned weights of layers, then the refined closed form: for backbones that keep their layers apart."""

import math
from dataclasses import replace
from typing import Final, Literal

import torch
from pydantic import Field

from matchka_train.errors import ProjectionError
from matchka_train.features.features import Features
from matchka_train.projections.affine import AffineProjection
from matchka_train.projections.closed_form.whitening import WhiteningRecipe
from matchka_train.projections.trainable import TrainableProjection
from matchka_train.projections.trained.refined import RefinedProjection
from matchka_train.strict_model import StrictModel

BLOCK_WINDOWS: Final = 1024


class LayerSumRecipe(StrictModel):
    """y = (I + L) s + e, where s is the closed form's output for the weighted sum of the layers.

    The weights are a softmax that begins with all layers equal; the closed form is fitted there.

    Attributes:
        layers: how many the features hold: one more than the network's transformer layers.
        start: the closed form.
        pull: weight of (|L|^2 + |e|^2) / full_dim in the loss.
    """

    family: Literal["layer_sum"] = "layer_sum"
    layers: int = Field(ge=1)
    start: WhiteningRecipe = WhiteningRecipe()
    pull: float = Field(default=1.0, ge=0)


class LayerSum(torch.nn.Module):
    """The weighted sum of layers that lie behind one another, each scaled to unit length by the backbone.

    Together they are of unit length, so each of them has the length 1 / sqrt(layers), which is undone here.

    Args: weights: float32, (layers,), summing to 1.
    """

    weights: torch.Tensor

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights.detach().clone())

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Sum: (rows, layers * dim) -> (rows, dim)."""
        return sum_layers(embeddings, self.weights)


class SummedProjection(torch.nn.Module):
    """A sum over layers, then an affine map; affine as a whole.

    Args:
        layer_sum: (rows, layers * dim) -> (rows, dim).
        affine: (rows, dim) -> (rows, full_dim).
    """

    def __init__(self, layer_sum: LayerSum, affine: AffineProjection) -> None:
        super().__init__()
        self.layer_sum = layer_sum
        self.affine = affine

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Project: float32, (rows, layers * dim) -> (rows, full_dim)."""
        projected: torch.Tensor = self.affine(self.layer_sum(embeddings))
        return projected


class LayerSumProjection(TrainableProjection):
    """The sum and the map while they are trained.

    Args:
        layers: how many.
        refined: the map at its start.
    """

    def __init__(self, layers: int, refined: RefinedProjection) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.zeros(layers))
        self.refined = refined

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Project: (rows, layers * dim) -> (rows, full_dim)."""
        projected: torch.Tensor = self.refined(sum_layers(embeddings, self.logits.softmax(dim=0)))
        return projected

    def penalty(self) -> torch.Tensor:
        """That of the map; the layers' weights are free."""
        return self.refined.penalty()

    def exported(self) -> SummedProjection:
        """The sum with its weights as they are now, and the map as one matrix."""
        weights = LayerSum(self.logits.detach().softmax(dim=0))
        return SummedProjection(weights, self.refined.exported()).requires_grad_(requires_grad=False).eval()


def sum_layers(embeddings: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The weighted sum of layers of unit length: (rows, layers * dim) -> (rows, dim)."""
    count = len(weights)
    layers = embeddings.reshape(-1, count, embeddings.shape[1] // count)
    summed: torch.Tensor = (layers * weights[:, None]).sum(dim=1)
    return summed * math.sqrt(count)


def summed_features(features: Features, layers: int) -> Features:
    """The features with all layers weighing the same, for a fit that needs no training.

    Args:
        features: of a backbone that keeps its layers apart.
        layers: how many.

    Raises: ProjectionError: the features do not hold that many layers.
    """
    windows = features.windows
    if windows.shape[1] % layers:
        raise ProjectionError(
            f"Features of {windows.shape[1]} components do not hold {layers} layers.",
            value=layers,
            remedy="Set projection.layers to one more than the network's layers, and backbone.layers to apart.",
        )
    equal = torch.full((layers,), 1.0 / layers)
    # in blocks: a memory-mapped cache may be larger than memory
    starts = range(0, len(windows), BLOCK_WINDOWS)
    summed = [sum_layers(torch.tensor(windows[start : start + BLOCK_WINDOWS]), equal) for start in starts]
    return replace(features, windows=torch.cat(summed).numpy())
