"""dlib's descriptor cut before its last block: what is cached in front of the cut, what is trained behind it."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch.nn import functional

from matchka.modalities.face.spec import ImageInputSpec
from matchka_train.backbones.face.dlib import DLIB_INPUT, DLIB_SOURCE, BothViews, DlibFace, DlibResNet
from matchka_train.backbones.face.mtcnn import Mtcnn
from matchka_train.weights.source import WeightSource

ACTIVATION_SHAPE: Final = (256, 4, 4)  # channels, rows, columns in front of the last block
ACTIVATION_VALUES: Final = 256 * 4 * 4


@dataclass(frozen=True)
class DlibTrunk:
    """All but the last block and the head, as a backbone whose "embedding" are the activations there, flattened.

    Those of the chip come first, those of its low-resolution copy behind them: a face is looked for once.

    Attributes:
        downloads: the folder that keeps package files.
        low_resolution_px: rows and columns that the copy is shrunk to before it is enlarged again.
    """

    downloads: Path
    low_resolution_px: int

    source: WeightSource = DLIB_SOURCE
    input: ImageInputSpec = DLIB_INPUT
    embedding_dim: int = 2 * ACTIVATION_VALUES

    @property
    def name(self) -> str:
        """The cut, and the resolution of the copy."""
        return f"dlib-trunk-{self.low_resolution_px}px"

    @property
    def published(self) -> "DlibTrunk":
        """Itself."""
        return self

    @property
    def auxiliary(self) -> tuple[Mtcnn, ...]:
        """What finds the faces, in the picture as it is."""
        return (Mtcnn(self.downloads),)

    def module(self) -> torch.nn.Module:
        """Chips (n, 150, 150, 3) -> (n, 8192)."""
        return _Trunk(descriptor_of(self.downloads), self.low_resolution_px).eval()


class DlibTail(torch.nn.Module):
    """The last block and the head behind cached activations: (n, 4096) -> descriptors (n, 128), not rescaled.

    Args: network: its parameters are copied, so that they can be trained.
    """

    def __init__(self, network: DlibResNet) -> None:
        super().__init__()
        self.block = copy.deepcopy(network.blocks[-1])
        self.head = copy.deepcopy(network.head)

    def forward(self, activations: torch.Tensor) -> torch.Tensor:
        """Descriptors."""
        descriptors: torch.Tensor = self.head(self.block(activations.reshape(-1, *ACTIVATION_SHAPE)).mean(dim=(2, 3)))
        return descriptors


def descriptor_of(downloads: Path) -> DlibResNet:
    """The frozen descriptor with the published weights.

    Raises: DownloadError, ChecksumError: as DlibFace.module.
    """
    module = DlibFace(downloads, mirrored=False).module()
    assert isinstance(module, BothViews)  # noqa: S101 - for mypy
    return module.network


class _Trunk(torch.nn.Module):
    def __init__(self, network: DlibResNet, low_resolution_px: int) -> None:
        super().__init__()
        self.network, self.low_resolution_px = network, low_resolution_px

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        views = torch.cat([chips.float(), low_resolution(chips, self.low_resolution_px)])
        activations: torch.Tensor = self.network.blocks[:-1](self.network.stem_of(views))
        return torch.cat(activations.flatten(1).chunk(2), dim=1)


def low_resolution(chips: torch.Tensor, side_px: int) -> torch.Tensor:
    """Chips as a distant camera sees them: shrunk to `side_px` by means of areas, enlarged again by cubic curves.

    Args:
        chips: uint8, (n, rows, columns, 3).
        side_px: rows and columns in between.

    Returns: float32, (n, rows, columns, 3), 0..255.
    """
    pixels = chips.permute(0, 3, 1, 2).float()
    small = functional.interpolate(pixels, size=(side_px, side_px), mode="area")
    enlarged = functional.interpolate(small, size=pixels.shape[2:], mode="bicubic", align_corners=False)
    return enlarged.clamp(0, 255).permute(0, 2, 3, 1)
