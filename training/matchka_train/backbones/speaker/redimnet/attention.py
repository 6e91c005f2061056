"""One transformer layer over time, as the published networks have it: normalisation follows what it normalises."""

from typing import Final

import torch
from torch import Tensor, nn

HEADS: Final = 4
NORM_EPS: Final = 1e-6


class SelfAttention(nn.Module):
    """Every frame attends to every frame.

    Args: channels: of the sequence, divisible by the four heads.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % HEADS:
            raise ValueError(f"{channels} channels cannot be shared by {HEADS} heads")
        self.scale = (channels // HEADS) ** -0.5
        self.k_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.q_proj = nn.Linear(channels, channels)
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, frames: Tensor) -> Tensor:
        """Attend: (n, frames, channels) -> the same."""
        queries, keys, values = (
            torch.unflatten(layer(frames), 2, (HEADS, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        weights = torch.softmax(torch.matmul(queries * self.scale, keys.transpose(2, 3)), dim=-1)
        result: Tensor = self.out_proj(torch.matmul(weights, values).transpose(1, 2).flatten(2))
        return result


class FeedForward(nn.Module):
    """Two layers with the tanh form of GELU between.

    Args:
        channels: of input and output.
        hidden: width between.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(channels, hidden)
        self.output_dense = nn.Linear(hidden, channels)

    def forward(self, frames: Tensor) -> Tensor:
        """Run both layers on every frame: (n, frames, channels) -> the same."""
        inside = nn.functional.gelu(self.intermediate_dense(frames), approximate="tanh")
        result: Tensor = self.output_dense(inside)
        return result


class TransformerLayer(nn.Module):
    """Attention, then two layers; each is added to its input.

    Args:
        channels: of the sequence.
        hidden: width inside the two layers.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.attention = SelfAttention(channels)
        self.layer_norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.feed_forward = FeedForward(channels, hidden)
        self.final_layer_norm = nn.LayerNorm(channels, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Run the layer: (n, channels, frames) -> the same."""
        frames = x.transpose(1, 2)
        attended = self.layer_norm(frames + self.attention(frames))
        result: Tensor = self.final_layer_norm(attended + self.feed_forward(attended))
        return result.transpose(1, 2)
