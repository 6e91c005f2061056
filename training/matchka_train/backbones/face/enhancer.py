"""A small network that puts back into an enlarged small face what its backbone needs to recognise it."""

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from matchka_train.errors import RecipeError

# Of red, green and blue in the brightness: the residual is one of brightness, so that a network that has seen grey
# photographs only leaves colours as they are (ITU-R BT.601).
BRIGHTNESS: Final = (0.299, 0.587, 0.114)
MID_GREY: Final = 127.5
RESIDUAL_UNIT: Final = (
    32.0  # grey levels; steps of the last layer move pixels by this much, and more than a few is noise
)
LARGEST_GRID_PX: Final = 64  # more costs time and says nothing of a face of 40 px
MIDDLE_PX: Final = 24.0  # the size whose logarithm is 0 for the network


def reduction_of(chip_px: int) -> int:
    """The least whole factor that brings a chip to a grid which the network can halve.

    Raises: RecipeError: there is none below a quarter of the chip.

    >>> [reduction_of(chip_px) for chip_px in (150, 112, 160, 224)]
    [3, 2, 4, 4]
    """
    for factor in range(max(1, math.ceil(chip_px / LARGEST_GRID_PX)), chip_px // 4 + 1):
        if chip_px % (2 * factor) == 0:
            return factor
    raise RecipeError("The enhancer cannot divide the chip.", value=chip_px, remedy="Use a chip with an even divisor.")


class SizedBlock(nn.Module):
    """Two convolutions around which the input passes, with a scale and a shift for each channel by the face's size."""

    def __init__(self, channels: int) -> None:
        """Build it; size changes nothing at the start."""
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.by_size = nn.Linear(2, 2 * channels)
        nn.init.zeros_(self.by_size.weight)
        nn.init.zeros_(self.by_size.bias)

    def forward(self, x: Tensor, size: Tensor) -> Tensor:
        """Map (batch, channels, rows, cols) to the same shape; `size` is (batch, 2)."""
        scale, shift = self.by_size(size)[:, :, None, None].chunk(2, dim=1)
        branch = self.first(functional.relu(x)) * (1 + scale) + shift
        enhanced: Tensor = x + self.second(functional.relu(branch))
        return enhanced


class Enhancer(nn.Module):
    """Enlarged chips and their sizes -> the chips with a residual of brightness added.

    It works on a reduced grid and on half of that, and knows by a map where on the aligned face it is. It starts with a
    residual of zero: untrained, it returns what it is given.

    Args:
        chip_px: side of a chip.
        channels: of the inner grid.
        blocks: of two convolutions each.
        outer: channels of the outer grid.
        places: channels of the map of places.
    """

    brightness: Tensor

    def __init__(self, chip_px: int, channels: int = 48, blocks: int = 2, outer: int = 16, places: int = 8) -> None:
        super().__init__()
        self.factor = reduction_of(chip_px)
        inner_px = chip_px // (2 * self.factor)
        self.register_buffer("brightness", torch.tensor(BRIGHTNESS).reshape(1, 3, 1, 1))
        self.head = nn.Conv2d(3, outer, 3, padding=1)
        self.places = nn.Parameter(torch.zeros(1, places, inner_px, inner_px))
        self.enter = nn.Conv2d(4 * outer + places, channels, 1)
        self.blocks = nn.ModuleList(SizedBlock(channels) for _ in range(blocks))
        self.leave = nn.Conv2d(channels, 4 * outer, 1)
        self.tail = nn.Conv2d(outer, self.factor**2, 3, padding=1)
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)

    def residual(self, chips: Tensor, native_px: Tensor) -> Tensor:
        """What is added: grey levels, (batch, 1, chip_px, chip_px).

        Args:
            chips: float, (batch, 3, chip_px, chip_px), 0..255.
            native_px: float, (batch,), side of the chip in the picture that it was cut from.
        """
        grid = functional.avg_pool2d((chips * self.brightness).sum(dim=1, keepdim=True), self.factor) / MID_GREY - 1
        octaves = torch.log2(native_px.clamp(min=1.0) / MIDDLE_PX)
        size = torch.stack([octaves, octaves * octaves], dim=1)
        planes = size[:, :, None, None].expand(-1, -1, grid.shape[2], grid.shape[3])
        outer = functional.relu(self.head(torch.cat([grid, planes], dim=1)))
        inner = functional.pixel_unshuffle(outer, 2)
        inner = self.enter(torch.cat([inner, self.places.expand(inner.shape[0], -1, -1, -1)], dim=1))
        for block in self.blocks:
            inner = block(inner, size)
        outer = outer + functional.pixel_shuffle(self.leave(functional.relu(inner)), 2)
        return functional.pixel_shuffle(self.tail(functional.relu(outer)), self.factor) * RESIDUAL_UNIT

    def enhance(self, chips: Tensor, native_px: Tensor) -> Tensor:
        """Chips as float, (batch, chip_px, chip_px, 3), 0..255 -> the same, enhanced and not rounded."""
        levels = chips.permute(0, 3, 1, 2)
        return (levels + self.residual(levels, native_px)).clamp(0, 255).permute(0, 2, 3, 1)

    def forward(self, chips: Tensor, native_px: Tensor) -> Tensor:
        """As served: uint8, (batch, chip_px, chip_px, 3), and float32, (batch,) -> uint8 of the chips' shape."""
        return self.enhance(chips.float(), native_px).round().to(torch.uint8)
