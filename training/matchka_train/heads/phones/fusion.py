"""Frames of several frozen encoders -> one row of numbers for each frame."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class EarlyFusion(nn.Module):
    """What the encoders say, one behind the other; of one encoder, what it says.

    Args: dims: components of each encoder.
    """

    def __init__(self, dims: Sequence[int]) -> None:
        super().__init__()
        self.out_dim = sum(dims)

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """Concatenate: one (n, frames, dim) of each encoder -> (n, frames, out_dim)."""
        return torch.cat(list(parts), dim=-1)


class GatedFusion(nn.Module):
    """A weighted sum of the encoders, with weights for each frame and component that depend on all of them.

    Frozen spaces have nothing in common, neither axes nor sizes: each is projected and normalised before they meet.

    Args:
        dims: components of each encoder.
        out_dim: components of the sum.

    Source: Arevalo et al. 2017, arXiv:1702.01992, with a softmax for any number of parts.
    """

    def __init__(self, dims: Sequence[int], out_dim: int) -> None:
        super().__init__()
        self.out_dim = out_dim
        self.projections = nn.ModuleList(nn.Sequential(nn.Linear(dim, out_dim), nn.LayerNorm(out_dim)) for dim in dims)
        self.gate = nn.Linear(len(dims) * out_dim, len(dims) * out_dim)

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """Fuse: one (n, frames, dim) of each encoder -> (n, frames, out_dim)."""
        projected = [project(part) for project, part in zip(self.projections, parts, strict=True)]
        stacked = torch.stack(projected, dim=-1)
        # in parts, not by a new shape: the exporter would write down how many frames the traced clip had
        gates = torch.stack(self.gate(torch.cat(projected, dim=-1)).chunk(len(projected), dim=-1), dim=-1)
        fused: Tensor = (stacked * gates.softmax(dim=-1)).sum(dim=-1)
        return fused
