"""dlib's ResNet-29 face descriptor: aligned chips -> embeddings, with the mirror image as a second view."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional

from matchka.modalities.face.alignment import Template
from matchka.modalities.face.spec import ImageInputSpec
from matchka_train.backbones.face.dlib_file import EMBEDDING_DIM, ConvLayer, DlibWeights, read_dlib_weights
from matchka_train.backbones.face.mtcnn import Mtcnn
from matchka_train.weights.package_catalogue import DLIB_WEIGHTS
from matchka_train.weights.packages import DEFAULT_CACHE_DIR, read_member
from matchka_train.weights.source import WeightSource

CHIP_PX: Final = 150
# Mean colour of dlib's training chips and its fixed divisor (dlib `input_rgb_image_sized`).
RGB_MEAN: Final = (122.782, 117.001, 104.298)
RGB_DIVISOR: Final = 256.0
# Whether each residual block halves rows and columns, input to output; every one that does opens a wider stage.
DOWNSAMPLES: Final = tuple(block in (3, 7, 10, 13) for block in range(14))
SMALLEST_NORM: Final = 1e-12  # as in matchka_train.backbones.speaker.ge2e

DLIB_SOURCE: Final = WeightSource(
    name="dlib face descriptor (ResNet-29)",
    source=f"Python package {DLIB_WEIGHTS.package.name}, member {DLIB_WEIGHTS.path}",
    version=DLIB_WEIGHTS.package.version,
    sha256=DLIB_WEIGHTS.sha256,
    licence=DLIB_WEIGHTS.package.licence,
)
# Where MTCNN's landmarks lie in dlib's own chips, mean over 2,412 pictures; equal weights separate people better than
# the weights that copy dlib's alignment most closely (docs/decisions/041).
TEMPLATE: Final = Template(
    points=((46.36, 45.10), (101.77, 45.12), (73.87, 77.52), (50.07, 106.22), (98.11, 106.29)),
    weights=(1.0, 1.0, 1.0, 1.0, 1.0),
)
DLIB_INPUT: Final = ImageInputSpec(chip_px=CHIP_PX, template_points=TEMPLATE.points, template_weights=TEMPLATE.weights)


def _conv(layer: ConvLayer, *, stride: int, padding: int) -> nn.Conv2d:
    filters, channels, rows, cols = layer.weight.shape
    conv = nn.Conv2d(channels, filters, (rows, cols), stride=stride, padding=padding)
    conv.weight.data = torch.from_numpy(layer.weight.copy())
    conv.bias = nn.Parameter(torch.from_numpy(layer.bias.copy()))
    return conv


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions plus the block's input, zero-padded to the larger of the two sizes."""

    def __init__(self, first: ConvLayer, second: ConvLayer, *, downsample: bool) -> None:
        """Build the block; `downsample` halves rows and columns in both branches."""
        super().__init__()
        self.downsample = downsample
        self.first = _conv(first, stride=2 if downsample else 1, padding=0 if downsample else 1)
        self.second = _conv(second, stride=1, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, rows, cols) to the block's output."""
        branch = self.second(functional.relu(self.first(x)))
        shortcut = functional.avg_pool2d(x, 2) if self.downsample else x
        return functional.relu(_pad_like(branch, shortcut) + _pad_like(shortcut, branch))


def _pad_like(x: Tensor, other: Tensor) -> Tensor:
    """Zero-pad `x` behind its last channel, row and column up to the size of `other` (dlib `add_prev`)."""
    grow = [max(0, other.shape[axis] - x.shape[axis]) for axis in (3, 2, 1)]
    if not any(grow):
        return x
    return functional.pad(x, (0, grow[0], 0, grow[1], 0, grow[2]))


class DlibResNet(nn.Module):
    """dlib's face descriptor, pixel scaling included. The output is not of unit length."""

    rgb_mean: Tensor

    def __init__(self, weights: DlibWeights) -> None:
        """Build the network from its parameters; it starts frozen and in eval mode."""
        super().__init__()
        self.register_buffer("rgb_mean", torch.tensor(RGB_MEAN).reshape(1, 3, 1, 1))
        self.stem = _conv(weights.convolutions[0], stride=2, padding=0)
        pairs = zip(weights.convolutions[1::2], weights.convolutions[2::2], DOWNSAMPLES, strict=True)
        self.blocks = nn.Sequential(*(ResidualBlock(a, b, downsample=down) for a, b, down in pairs))
        self.head = nn.Linear(weights.head.shape[0], EMBEDDING_DIM, bias=False)
        self.head.weight.data = torch.from_numpy(weights.head.T.copy())
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, chips: Tensor) -> Tensor:
        """Embed aligned chips.

        Args:
            chips: uint8 or float in 0..255, (batch, 150, 150, 3), RGB.
        Returns: float32, (batch, 128).
        """
        embeddings: Tensor = self.head(self.blocks(self.stem_of(chips)).mean(dim=(2, 3)))
        return embeddings

    def stem_of(self, chips: Tensor) -> Tensor:
        """What the first block takes: chips as forward -> float32, (batch, 32, 35, 35)."""
        x = (chips.permute(0, 3, 1, 2).float() - self.rgb_mean) / RGB_DIVISOR
        return functional.max_pool2d(functional.relu(self.stem(x)), 3, stride=2)


class BothViews(nn.Module):
    """The sum of the descriptors of a chip and of its mirror image, of unit length.

    Args:
        network: chips -> descriptors.
        mirrored: False leaves the mirror image out.
    """

    def __init__(self, network: DlibResNet, *, mirrored: bool) -> None:
        super().__init__()
        self.network = network
        self.mirrored = mirrored
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, chips: Tensor) -> Tensor:
        """Embed aligned chips: uint8, (n, 150, 150, 3) -> float32, (n, 128), of unit length."""
        if self.mirrored:
            views = self.network(torch.cat([chips, chips.flip(2)]))
            descriptors: Tensor = views.reshape(2, -1, EMBEDDING_DIM).sum(dim=0)
        else:
            descriptors = self.network(chips)
        return functional.normalize(descriptors, dim=1, eps=SMALLEST_NORM)


@dataclass(frozen=True)
class DlibFace:
    """The descriptor with the weights of the pinned package, behind the MTCNN detector.

    Attributes:
        downloads: the folder that keeps package files.
        mirrored: whether the mirror image is a second view; twice the work, a sixth fewer errors.
    """

    downloads: Path = DEFAULT_CACHE_DIR
    mirrored: bool = True

    source: WeightSource = DLIB_SOURCE
    input: ImageInputSpec = DLIB_INPUT
    embedding_dim: int = EMBEDDING_DIM

    @property
    def name(self) -> str:
        """What the recipe calls it, and whether it looks twice."""
        return "dlib-mirrored" if self.mirrored else "dlib"

    @property
    def published(self) -> "DlibFace":
        """The descriptor as it was published: one view."""
        return DlibFace(self.downloads, mirrored=False)

    @property
    def auxiliary(self) -> tuple[Mtcnn, ...]:
        """What finds the faces."""
        return (Mtcnn(self.downloads),)

    def module(self) -> nn.Module:
        """The frozen network in evaluation mode: rows -> embeddings.

        Raises:
            DownloadError: the weights are not in the cache and cannot be fetched.
            ChecksumError: they are others than the pinned ones.
        """
        content = read_member(DLIB_WEIGHTS, self.downloads, Console(stderr=True))
        return BothViews(DlibResNet(read_dlib_weights(content)), mirrored=self.mirrored)
