"""Layers of one frozen encoder -> one row of numbers for each frame."""

import torch
from torch import Tensor, nn


class WeightedLayers(nn.Module):
    """The sum of all layers, with weights that are learned and sum to 1; they begin equal.

    Args: layers: how many.

    Source: Peters et al. 2018, arXiv:1802.05365, equation 1, without its scale.
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(layers))

    def forward(self, frames: Tensor) -> Tensor:
        """Sum: (n, frames, layers, dim) -> (n, frames, dim)."""
        summed: Tensor = (frames * self.logits.softmax(dim=0)[:, None]).sum(dim=2)
        return summed

    def shares(self) -> list[float]:
        """What each layer counts; they sum to 1."""
        return self.logits.detach().softmax(dim=0).tolist()


class OneLayer(nn.Module):
    """One of the layers.

    Args:
        number: from 0; negative numbers count from the last.
        layers: of how many.
    """

    def __init__(self, number: int, layers: int) -> None:
        super().__init__()
        self.number = number
        self.layers = layers

    def forward(self, frames: Tensor) -> Tensor:
        """Choose: (n, frames, layers, dim) -> (n, frames, dim)."""
        return frames[:, :, self.number]

    def shares(self) -> list[float]:
        """1 for this layer and 0 for the others."""
        return [float(number == self.number % self.layers) for number in range(self.layers)]
