"""The blocks a stage is made of; attributes carry the names that the published parameters have."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from matchka_train.backbones.speaker.redimnet.attention import TransformerLayer

NORM_EPS: Final = 1e-6
CONV_KERNELS: Final = (7, 15, 31)  # of block_1d_type conv, side by side, four times
CONV_ATT_KERNELS: Final = (7, 19, 31, 59)  # of conv+att, one after the other
POSITION_KERNEL: Final = 59  # of att
FEWEST_GATES: Final = 32
MOST_GATES: Final = 64


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of (n, channels, ...).

    Args: channels: how many.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every place by itself."""
        centred = x - x.mean(dim=1, keepdim=True)
        unit = centred / torch.sqrt(centred.square().mean(dim=1, keepdim=True) + NORM_EPS)
        shape = (-1, *(1 for _ in range(x.ndim - 2)))
        return self.weight.reshape(shape) * unit + self.bias.reshape(shape)


class ConvNext(nn.Module):
    """Grouped convolutions side by side, batch normalisation, activation, 1x1 convolution, and the input added.

    Args:
        channels: of input and output.
        kernels: sizes of the convolutions.
        group_divisor: channels in one group; None groups nothing.
        over_time: whether x is (n, channels, frames) and not (n, channels, bands, frames).
        activation: behind the normalisation.
    """

    def __init__(
        self,
        channels: int,
        kernels: Sequence[int],
        group_divisor: int | None,
        *,
        over_time: bool,
        activation: nn.Module,
    ) -> None:
        super().__init__()
        convolution = nn.Conv1d if over_time else nn.Conv2d
        norm = nn.BatchNorm1d if over_time else nn.BatchNorm2d
        groups = _groups(channels, group_divisor)
        self.dwconvs = nn.ModuleList(
            [convolution(channels, channels, size, padding=size // 2, groups=groups) for size in kernels]
        )
        self.norm = norm(channels * len(kernels))
        self.act = activation
        self.pwconv1 = convolution(channels * len(kernels), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Run the block."""
        wide = torch.cat([convolution(x) for convolution in self.dwconvs], dim=1)
        added: Tensor = self.pwconv1(self.act(self.norm(wide)))
        return x + added


class BandGate(nn.Module):
    """Squeeze and excitation over bands: each band is weighed by what the mean of all bands says.

    Args:
        bands: how many.
        hidden: width between the two layers.
    """

    def __init__(self, bands: int, hidden: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(bands, hidden)
        self.exitation = nn.Linear(hidden, bands)  # spelt as in the published parameters

    def forward(self, x: Tensor) -> Tensor:
        """Weigh: (n, channels, bands, frames) -> the same."""
        means = x.mean(dim=(1, 3))
        gates = torch.sigmoid(self.exitation(torch.relu(self.squeeze(means))))
        return x * gates[:, None, :, None]


class Residual(nn.Module):
    """Two 3x3 convolutions, each with a 1x1 behind it where they are grouped, and the input added.

    Args:
        channels: of input and output.
        bands: of the feature map.
        group_divisor: channels in one group; None groups nothing and leaves the 1x1 out.
        gated: whether bands are weighed before the input is added.
    """

    def __init__(self, channels: int, bands: int, group_divisor: int | None, *, gated: bool) -> None:
        super().__init__()
        groups = _groups(channels, group_divisor)
        grouped = group_divisor is not None
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False, groups=groups)
        self.conv1pw = nn.Conv2d(channels, channels, 1) if grouped else nn.Identity()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False, groups=groups)
        self.conv2pw = nn.Conv2d(channels, channels, 1) if grouped else nn.Identity()
        self.bn2 = nn.BatchNorm2d(channels)
        gates = min(MOST_GATES, max(channels, FEWEST_GATES))
        self.se = BandGate(bands, gates) if gated else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Run the block: (n, channels, bands, frames) -> the same; the first activation is before its normalisation."""
        first = self.bn1(torch.relu(self.conv1pw(self.conv1(x))))
        second = self.se(self.bn2(self.conv2pw(self.conv2(first))))
        return torch.relu(second + x)


class Block2d(nn.Module):
    """A 2-d block of the type the checkpoint names.

    Args:
        kind: block_2d_type.
        channels: of the feature map.
        bands: of the feature map.
        group_divisor: channels in one group.
    """

    def __init__(self, kind: str, channels: int, bands: int, group_divisor: int | None) -> None:
        super().__init__()
        if kind.startswith("convnext_like"):
            activation = nn.ReLU() if kind.endswith("relu") else nn.GELU()
            block: nn.Module = ConvNext(channels, (3,), group_divisor, over_time=False, activation=activation)
        else:
            block = Residual(channels, bands, group_divisor, gated=kind.endswith("fwse"))
        self.conv_block = block

    def forward(self, x: Tensor) -> Tensor:
        """Run the block: (n, channels, bands, frames) -> the same."""
        result: Tensor = self.conv_block(x)
        return result


class PositionConv(nn.Module):
    """What attention knows of positions: a depthwise convolution over time, normalised and added.

    Args: channels: of the sequence.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, POSITION_KERNEL, padding=POSITION_KERNEL // 2, groups=channels)
        self.norm = ChannelNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Add positions: (n, channels, frames) -> the same."""
        added: Tensor = self.norm(self.conv(x))
        return x + added


class TimeContext(nn.Module):
    """Fewer channels, context over time, all channels again, and the input added.

    Args:
        kind: block_1d_type.
        channels: of the sequence.
        hidden: fewer channels.
    """

    def __init__(self, kind: str, channels: int, hidden: int) -> None:
        super().__init__()
        self.red_dim_conv = nn.Sequential(nn.Conv1d(channels, hidden, 1), ChannelNorm(hidden))
        self.tcm = nn.Sequential(*_context(kind, hidden))
        self.exp_dim_conv = nn.Conv1d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Run the block: (n, channels, frames) -> the same."""
        added: Tensor = self.exp_dim_conv(self.tcm(self.red_dim_conv(x)))
        return x + added


def _context(kind: str, hidden: int) -> list[nn.Module]:
    if kind == "fc":
        return [nn.Conv1d(hidden, 2 * hidden, 1), ChannelNorm(2 * hidden), nn.GELU(), nn.Conv1d(2 * hidden, hidden, 1)]
    if kind == "conv":
        return [ConvNext(hidden, CONV_KERNELS, 1, over_time=True, activation=nn.GELU()) for _ in range(4)]
    if kind == "att":
        return [PositionConv(hidden), TransformerLayer(hidden, 2 * hidden)]
    convolutions = [ConvNext(hidden, (size,), 1, over_time=True, activation=nn.GELU()) for size in CONV_ATT_KERNELS]
    return [*convolutions, TransformerLayer(hidden, hidden)]


def _groups(channels: int, group_divisor: int | None) -> int:
    return 1 if group_divisor is None else channels // group_divisor
