"""The whole network: stages that turn bands into channels, each fed by a weighted sum of all before it."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from matchka_train.backbones.speaker.redimnet.blocks import Block2d, ChannelNorm, TimeContext
from matchka_train.backbones.speaker.redimnet.config import RedimnetConfig, StageConfig
from matchka_train.backbones.speaker.redimnet.front_end import FrontEnd, shortest_window
from matchka_train.errors import FeatureError

SQUEEZE_EPS: Final = 1e-6
POOLING_HIDDEN: Final = 128
SMALLEST_VARIANCE: Final = 1e-7  # below it a square root has no usable slope


class WeightedSum(nn.Module):
    """Sum of equally shaped sequences, each component with its own weights, which add up to 1.

    Args:
        inputs: how many sequences.
        width: of each; a single one is passed on as it is, and its one weight counts for nothing.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1, inputs, width if inputs > 1 else 1, 1))

    def forward(self, sequences: Sequence[Tensor]) -> Tensor:
        """Add: inputs x (n, width, frames) -> (n, width, frames)."""
        if len(sequences) == 1:
            return sequences[0]
        weights = torch.softmax(self.w, dim=1)
        return torch.stack([weights[:, row] * sequence for row, sequence in enumerate(sequences)]).sum(dim=0)


class ToMap(nn.Module):
    """(n, bands x channels, frames) -> (n, channels, bands, frames).

    Args: bands: how many.
    """

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.bands = bands

    def forward(self, x: Tensor) -> Tensor:
        """Reshape."""
        return torch.unflatten(x, 1, (self.bands, -1)).transpose(1, 2)


class ToSequence(nn.Module):
    """(n, channels, bands, frames) -> (n, bands x channels, frames)."""

    def forward(self, x: Tensor) -> Tensor:
        """Reshape."""
        return x.transpose(1, 2).flatten(1, 2)


class RedimnetBody(nn.Module):
    """Log mel bands -> a sequence: (n, 1, bands, frames) -> (n, out_channels or bands x channels, frames).

    Args: config: of the checkpoint.

    Raises: ValueError: as torch, where numbers of channels do not fit each other.
    """

    def __init__(self, config: RedimnetConfig) -> None:
        super().__init__()
        channels, bands = config.channels, config.bands
        self.stages = len(config.stages_setup)
        self.stem = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), ChannelNorm(channels), ToSequence())
        for number, stage in enumerate(config.stages_setup):
            self.add_module(f"stage{number}", nn.Sequential(*_stage(config, number, stage, channels, bands)))
            channels, bands = channels * stage.stride, bands // stage.stride
        self.fin_wght1d = WeightedSum(self.stages + 1, config.width)
        self.mfa: nn.Module = nn.Identity()
        if config.out_channels is not None:
            self.mfa = nn.Sequential(
                nn.Conv1d(config.width, config.out_channels, 1), nn.BatchNorm1d(config.out_channels)
            )

    def forward(self, spectra: Tensor) -> Tensor:
        """Run all stages."""
        sequences = [self.stem(spectra)]
        for number in range(self.stages):
            sequences.append(self.get_submodule(f"stage{number}")(sequences))
        result: Tensor = self.mfa(self.fin_wght1d(sequences))
        return result


def _stage(config: RedimnetConfig, number: int, stage: StageConfig, channels: int, bands: int) -> list[nn.Module]:
    """Its modules in the order of the published parameters; channels and bands are those before its stride."""
    stride = stage.stride
    inside, after = int(channels * stride * stage.expansion), channels * stride
    modules: list[nn.Module] = [
        WeightedSum(number + 1, config.width),
        ToMap(bands),
        nn.Conv2d(channels, int(stride * channels * stage.expansion), (stride, 1), stride=(stride, 1)),
    ]
    modules += [
        Block2d(config.block_2d_type, inside, bands // stride, config.group_divisor) for _ in range(stage.blocks)
    ]
    if stage.expansion != 1:
        groups = 1 if config.group_divisor is None else after // config.group_divisor
        modules.append(
            nn.Sequential(
                nn.Conv2d(inside, after, 3, padding=1, groups=groups),
                nn.BatchNorm2d(after, eps=SQUEEZE_EPS),
                nn.GELU(),
                nn.Conv2d(after, after, 1),
            )
        )
    modules.append(ToSequence())
    if stage.reduction is not None:
        modules.append(TimeContext(config.block_1d_type, config.width, config.width // stage.reduction))
    return modules


class AttentivePooling(nn.Module):
    """Mean and deviation over time, each frame weighed by attention: (n, width, frames) -> (n, 2 x width).

    Args:
        width: of the sequence.
        global_context: whether the attention sees mean and deviation of the whole sequence beside each frame.

    Source: Desplanques et al. 2020, arXiv:2005.07143.
    """

    def __init__(self, width: int, *, global_context: bool) -> None:
        super().__init__()
        self.global_context = global_context
        self.linear1 = nn.Conv1d(3 * width if global_context else width, POOLING_HIDDEN, 1)
        self.linear2 = nn.Conv1d(POOLING_HIDDEN, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Pool a sequence of at least two frames."""
        seen = x
        if self.global_context:
            mean = x.mean(dim=2, keepdim=True).expand_as(x)
            deviation = torch.sqrt(x.var(dim=2, keepdim=True) + SMALLEST_VARIANCE).expand_as(x)
            seen = torch.cat([x, mean, deviation], dim=1)
        weights = torch.softmax(self.linear2(torch.tanh(self.linear1(seen))), dim=2)
        mean = (weights * x).sum(dim=2)
        variance = (weights * x.square()).sum(dim=2) - mean.square()
        return torch.cat([mean, torch.sqrt(variance.clamp(min=SMALLEST_VARIANCE))], dim=1)


class Redimnet(nn.Module):
    """Waveform windows of any length -> the published embedding, not rescaled: (n, samples) -> (n, embed_dim).

    Parameter names are those of the published checkpoints.

    Args: config: of the checkpoint.

    Raises: ValueError: as torch, where numbers of channels do not fit each other.

    Source: Yakovlev et al. 2024, arXiv:2407.18223, and the makers' code at github.com/IDRnD/ReDimNet.
    """

    def __init__(self, config: RedimnetConfig) -> None:
        super().__init__()
        self.shortest_window = shortest_window(config)
        self.spec = FrontEnd(config)
        self.backbone = RedimnetBody(config)
        self.pool = AttentivePooling(config.pooled_dim // 2, global_context=config.global_context_att)
        self.bn = nn.BatchNorm1d(config.pooled_dim)
        self.linear = nn.Linear(config.pooled_dim, config.embed_dim)
        self.bn2: nn.Module = nn.BatchNorm1d(config.embed_dim) if config.emb_bn else nn.Identity()

    def pooled(self, windows: Tensor) -> Tensor:
        """The features before the published head: float32, (n, samples) -> (n, pooled_dim), not rescaled.

        Raises: FeatureError: windows too short for one spectrum.
        """
        if windows.shape[1] < self.shortest_window:
            raise FeatureError(
                f"ReDimNet needs windows of at least {self.shortest_window} samples at 16 kHz.",
                value=int(windows.shape[1]),
                remedy="Give a longer clip; 3 s or more works best.",
            )
        features: Tensor = self.pool(self.backbone(self.spec(windows).unsqueeze(1)))
        return features

    def forward(self, windows: Tensor) -> Tensor:
        """The published embedding.

        Raises: FeatureError: windows too short for one spectrum.
        """
        embedding: Tensor = self.bn2(self.linear(self.bn(self.pooled(windows))))
        return embedding
