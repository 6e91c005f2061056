"""EdgeFace's network: EdgeNeXt with 512 outputs, some of its variants with every linear layer as two of low rank.

Parameters are named as in the published checkpoints. Written from the papers and the published parameter lists
(docs/decisions/071): George et al. 2024, arXiv:2307.01838; Maaz et al. 2022, arXiv:2206.10589.
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

CHIP_PX: Final = 112
EMBEDDING_DIM: Final = 512
STEM_STRIDE: Final = 4
DEEPEST_ENCODED: Final = 1  # the stage whose tokens are told where they lie; the others know by their convolutions
KERNELS_PX: Final = (3, 5, 7, 9)  # of the depthwise convolutions, by stage
SPLITS: Final = (2, 2, 3, 4)  # groups of channels of a global block, by stage
EXPANSION: Final = 4
NORM_EPS: Final = 1e-6
WAVES: Final = 32  # of the position encoding, for each axis
LONGEST_WAVE: Final = 10_000.0
SMALLEST_RANK: Final = 2
# Pixels 0..255 -> -1..1: mean and standard deviation 0.5 of pixels in 0..1.
PIXEL_CENTRE: Final = 127.5


@dataclass(frozen=True)
class EdgeFaceShape:
    """Sizes of one variant.

    Attributes:
        channels: of the four stages.
        blocks: of the four stages; the last block of every stage but the first is a global one.
        heads: of the attention.
        rank_share: rank of every linear layer as a share of its smaller side; None leaves the layers whole.
    """

    channels: tuple[int, int, int, int]
    blocks: tuple[int, int, int, int]
    heads: int
    rank_share: float | None


class LowRankLinear(nn.Module):
    """Two linear layers in the place of one: the first narrows and has no offset."""

    def __init__(self, in_features: int, out_features: int, rank: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(in_features, rank, bias=False)
        self.linear2 = nn.Linear(rank, out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        widened: Tensor = self.linear2(self.linear1(x))
        return widened


def _linear(in_features: int, out_features: int, rank_share: float | None) -> nn.Module:
    if rank_share is None:
        return nn.Linear(in_features, out_features)
    rank = max(SMALLEST_RANK, int(min(in_features, out_features) * rank_share))
    return LowRankLinear(in_features, out_features, rank)


def _depthwise(channels: int, kernel_px: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel_px, padding=kernel_px // 2, groups=channels)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of every pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (n, channels, rows, columns)."""
        normalised: Tensor = super().forward(x.permute(0, 2, 3, 1))
        return normalised.permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """Widen four times, GELU, narrow again; on the last axis."""

    def __init__(self, channels: int, rank_share: float | None) -> None:
        super().__init__()
        self.fc1 = _linear(channels, EXPANSION * channels, rank_share)
        self.fc2 = _linear(EXPANSION * channels, channels, rank_share)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., channels) to the same shape."""
        narrowed: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return narrowed


class LocalBlock(nn.Module):
    """A depthwise convolution, then normalisation and an MLP on every pixel, added to the block's input."""

    def __init__(self, channels: int, kernel_px: int, rank_share: float | None) -> None:
        super().__init__()
        self.conv_dw = _depthwise(channels, kernel_px)
        self.norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.mlp = Mlp(channels, rank_share)
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, rows, columns) to the same shape."""
        pixels = self.conv_dw(x).permute(0, 2, 3, 1)
        branch: Tensor = self.gamma * self.mlp(self.norm(pixels))
        return x + branch.permute(0, 3, 1, 2)


class CrossCovarianceAttention(nn.Module):
    """Attention between channels, not between pixels: its cost grows with pixels, not with their square."""

    def __init__(self, channels: int, heads: int, rank_share: float | None) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = _linear(channels, 3 * channels, rank_share)
        self.proj = _linear(channels, channels, rank_share)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (n, tokens, channels) to the same shape."""
        count, channels = tokens.shape[1:]
        by_head = self.qkv(tokens).reshape(-1, count, 3, self.heads, channels // self.heads).permute(2, 0, 3, 4, 1)
        query, key, value = by_head.unbind(0)  # each (n, heads, channels of a head, tokens)
        similarity = functional.normalize(query, dim=-1) @ functional.normalize(key, dim=-1).transpose(-2, -1)
        mixed = (similarity * self.temperature).softmax(dim=-1) @ value
        projected: Tensor = self.proj(mixed.permute(0, 3, 1, 2).reshape(-1, count, channels))
        return projected


class PositionEncoding(nn.Module):
    """Sines and cosines of rows and columns, brought to the stage's channels; of one size of picture.

    Args:
        side_px: rows and columns of the stage.
        channels: of the stage.
    """

    waves: Tensor

    def __init__(self, side_px: int, channels: int) -> None:
        super().__init__()
        self.token_projection = nn.Conv2d(2 * WAVES, channels, 1)
        self.register_buffer("waves", _position_waves(side_px), persistent=False)

    def forward(self) -> Tensor:
        """The encoding of every token: (1, tokens, channels)."""
        encoded: Tensor = self.token_projection(self.waves)
        return encoded.flatten(2).permute(0, 2, 1)


def _position_waves(side_px: int) -> Tensor:
    """Sine and cosine in turn, of 16 wavelengths for the rows, then for the columns: (1, 64, side_px, side_px)."""
    at = torch.arange(1, side_px + 1) / (side_px + NORM_EPS) * 2 * math.pi
    wavelengths = LONGEST_WAVE ** (torch.arange(0, WAVES, 2) / WAVES)
    angles = at[:, None] / wavelengths
    waves = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1).T  # (32, side_px)
    rows, columns = waves[:, :, None].expand(-1, -1, side_px), waves[:, None, :].expand(-1, side_px, -1)
    return torch.cat([rows, columns])[None]


class GlobalBlock(nn.Module):
    """Groups of channels that see more and more of the picture, attention between channels, then an MLP."""

    def __init__(self, stage: int, shape: EdgeFaceShape) -> None:
        super().__init__()
        channels, rank_share = shape.channels[stage], shape.rank_share
        width = math.ceil(channels / SPLITS[stage])
        self.convs = nn.ModuleList(_depthwise(width, 3) for _ in range(SPLITS[stage] - 1))
        side_px = CHIP_PX // (STEM_STRIDE << stage)
        self.pos_embd = PositionEncoding(side_px, channels) if stage == DEEPEST_ENCODED else None
        self.norm_xca = nn.LayerNorm(channels, eps=NORM_EPS)
        self.gamma_xca = nn.Parameter(torch.ones(channels))
        self.xca = CrossCovarianceAttention(channels, shape.heads, rank_share)
        self.norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.mlp = Mlp(channels, rank_share)
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, rows, columns) to the same shape."""
        tokens = self._widened(x).flatten(2).permute(0, 2, 1)
        if self.pos_embd is not None:
            tokens = tokens + self.pos_embd()
        tokens = tokens + self.gamma_xca * self.xca(self.norm_xca(tokens))
        branch: Tensor = self.gamma * self.mlp(self.norm(tokens))
        return x + branch.permute(0, 2, 1).reshape(x.shape)

    def _widened(self, x: Tensor) -> Tensor:
        """Each group but the last is convolved together with the result of the group before it."""
        groups = x.chunk(len(self.convs) + 1, dim=1)
        found: list[Tensor] = []
        for group, conv in zip(groups, self.convs, strict=False):  # the last group has no convolution
            found.append(conv(found[-1] + group if found else group))
        return torch.cat([*found, groups[-1]], dim=1)


class Stage(nn.Module):
    """Half the rows and columns (but for the first stage), then the blocks."""

    def __init__(self, stage: int, shape: EdgeFaceShape) -> None:
        super().__init__()
        channels = shape.channels[stage]
        self.downsample = (
            nn.Sequential(ChannelNorm(shape.channels[stage - 1]), nn.Conv2d(shape.channels[stage - 1], channels, 2, 2))
            if stage
            else nn.Identity()
        )
        local = shape.blocks[stage] - (1 if stage else 0)
        blocks: list[nn.Module] = [LocalBlock(channels, KERNELS_PX[stage], shape.rank_share) for _ in range(local)]
        self.blocks = nn.Sequential(*blocks, *([GlobalBlock(stage, shape)] if stage else []))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels before, rows, columns) to the stage's output."""
        deeper: Tensor = self.blocks(self.downsample(x))
        return deeper


class Head(nn.Module):
    """The mean over the picture, normalised, brought to the embedding."""

    def __init__(self, shape: EdgeFaceShape) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(shape.channels[-1], eps=NORM_EPS)
        self.fc = _linear(shape.channels[-1], EMBEDDING_DIM, shape.rank_share)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, rows, columns) to (n, 512)."""
        embeddings: Tensor = self.fc(self.norm(x.mean(dim=(2, 3))))
        return embeddings


class EdgeNext(nn.Module):
    """The network under the name that the checkpoints give it."""

    def __init__(self, shape: EdgeFaceShape) -> None:
        super().__init__()
        first = shape.channels[0]
        self.stem = nn.Sequential(nn.Conv2d(3, first, STEM_STRIDE, STEM_STRIDE), ChannelNorm(first))
        self.stages = nn.Sequential(*(Stage(stage, shape) for stage in range(len(shape.channels))))
        self.head = Head(shape)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (n, 3, 112, 112), -1..1, to (n, 512)."""
        embeddings: Tensor = self.head(self.stages(self.stem(pixels)))
        return embeddings


class EdgeFaceNetwork(nn.Module):
    """Chips to embeddings, pixel scaling included. The output is not of unit length.

    Args: shape: the variant's sizes.
    """

    def __init__(self, shape: EdgeFaceShape) -> None:
        super().__init__()
        self.model = EdgeNext(shape)

    def forward(self, chips: Tensor) -> Tensor:
        """Embed aligned chips.

        Args: chips: uint8 or float in 0..255, (n, 112, 112, 3), RGB.

        Returns: float32, (n, 512).
        """
        embeddings: Tensor = self.model(chips.permute(0, 3, 1, 2).float() / PIXEL_CENTRE - 1.0)
        return embeddings
