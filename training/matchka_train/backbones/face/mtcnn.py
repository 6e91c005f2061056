"""MTCNN (PNet, RNet, ONet) as torch modules, with the weights of a pinned package: the part that finds faces.

Architecture: Zhang et al. 2016, arXiv:1604.02878.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional

from matchka.modalities.face.pyramid import ONET_PX, PNET_WINDOW_PX, RNET_PX
from matchka.modalities.graph import Graph
from matchka.modalities.modality import GraphInput
from matchka_train.backbones.auxiliary import TracedNetwork
from matchka_train.weights.package_catalogue import MTCNN_WEIGHTS
from matchka_train.weights.packages import DEFAULT_CACHE_DIR, read_member
from matchka_train.weights.source import WeightSource, joined_sha256

# The networks were trained on (pixel - 127.5) / 128.
PIXEL_MEAN: Final = 127.5
PIXEL_DIVISOR: Final = 128.0
INPUT_NAME: Final = "pixels"  # as matchka.modalities.face.detection feeds it
OUTPUTS: Final = ("confidence", "offsets", "landmarks")
ROWS_AND_COLUMNS: Final = (1, 2)
TRACED_PX: Final = {"pnet": (61, 47), "rnet": (RNET_PX, RNET_PX), "onet": (ONET_PX, ONET_PX)}
# The pyramid hands the first network pictures of every size from one window on, odd ones among them.
PROVEN_PX: Final = {
    "pnet": ((PNET_WINDOW_PX, PNET_WINDOW_PX), (12, 13), (13, 12), (14, 15), (97, 64), (100, 133)),
    "rnet": ((RNET_PX, RNET_PX),),
    "onet": ((ONET_PX, ONET_PX),),
}


def _scaled(pixels: Tensor) -> Tensor:
    """(batch, rows, cols, 3) in 0..255 -> (batch, 3, rows, cols) in -1..1."""
    return (pixels.permute(0, 3, 1, 2).float() - PIXEL_MEAN) / PIXEL_DIVISOR


def _pool(x: Tensor, size: int) -> Tensor:
    """Max pooling with stride 2 that keeps a partial last window, as in Caffe."""
    return functional.max_pool2d(x, size, stride=2, ceil_mode=True)


def _flat(x: Tensor) -> Tensor:
    """Flatten column-major: the dense layers come from a framework that stores (cols, rows, channels)."""
    return x.permute(0, 3, 2, 1).flatten(1)


class PNet(nn.Module):
    """Proposal network: fully convolutional, one 12x12 window every 2 pixels."""

    def __init__(self) -> None:
        """Build the layers; parameter names are those of the weight file."""
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Find windows that may hold a face.

        Args:
            pixels: uint8, (batch, rows, cols, 3), RGB; rows and cols >= 12.
        Returns: confidence (batch, r, c) in 0..1; box offsets (batch, 4, r, c) in units of the window.
        """
        x = _pool(self.prelu1(self.conv1(_scaled(pixels))), 2)
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return functional.softmax(self.conv4_1(x), dim=1)[:, 1], self.conv4_2(x)


class RNet(nn.Module):
    """Refinement network: rejects most windows, corrects the boxes of the others."""

    def __init__(self) -> None:
        """Build the layers; parameter names are those of the weight file."""
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Judge crops: uint8, (batch, 24, 24, 3). Returns confidence (batch,), box offsets (batch, 4)."""
        x = _pool(self.prelu1(self.conv1(_scaled(crops))), 3)
        x = _pool(self.prelu2(self.conv2(x)), 3)
        x = self.prelu4(self.dense4(_flat(self.prelu3(self.conv3(x)))))
        return functional.softmax(self.dense5_1(x), dim=1)[:, 1], self.dense5_2(x)


class ONet(nn.Module):
    """Output network: final confidence, box and five landmarks."""

    def __init__(self) -> None:
        """Build the layers; parameter names are those of the weight file."""
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2, self.dense6_3 = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Judge crops and place landmarks.

        Args:
            crops: uint8, (batch, 48, 48, 3), RGB.
        Returns: confidence (batch,), box offsets (batch, 4), landmarks (batch, 5, 2), x y as
            fractions of the crop.
        """
        x = _pool(self.prelu1(self.conv1(_scaled(crops))), 3)
        x = _pool(self.prelu2(self.conv2(x)), 3)
        x = _pool(self.prelu3(self.conv3(x)), 2)
        x = self.prelu5(self.dense5(_flat(self.prelu4(self.conv4(x)))))
        confidence = functional.softmax(self.dense6_1(x), dim=1)[:, 1]
        landmarks = self.dense6_3(x).reshape(-1, 2, 5).permute(0, 2, 1)
        return confidence, self.dense6_2(x), landmarks


@dataclass(frozen=True)
class Mtcnn:
    """The published networks; see RequiredPart and ExportablePart in matchka_train.backbones.auxiliary.

    Attributes: downloads: the folder that keeps the package file.
    """

    downloads: Path = DEFAULT_CACHE_DIR

    name: ClassVar[str] = "detector"
    kind: ClassVar[str] = "mtcnn"

    @property
    def sources(self) -> dict[str, WeightSource]:
        """Where the weights of each graph come from."""
        return {
            _file_name(name): WeightSource(
                name=f"MTCNN face detector, {name}",
                source=f"Python package {member.package.name}, member {member.path}",
                version=member.package.version,
                sha256=member.sha256,
                licence=member.package.licence,
            )
            for name, member in MTCNN_WEIGHTS.items()
        }

    @property
    def sha256(self) -> str:
        """Of the three networks together."""
        return joined_sha256(source.sha256 for source in self.sources.values())

    def modules(self) -> dict[str, nn.Module]:
        """`pnet`, `rnet`, `onet`, frozen and in evaluation mode; each takes uint8 pixels (n, rows, columns, 3).

        Raises:
            DownloadError: the weights are not in the cache and cannot be fetched.
            ChecksumError: they are others than the pinned ones.
        """
        networks: dict[str, nn.Module] = {"pnet": PNet(), "rnet": RNet(), "onet": ONet()}
        for name, network in networks.items():
            content = read_member(MTCNN_WEIGHTS[name], self.downloads, Console(stderr=True))
            # tensors are allowed in the pickle, and nothing else
            network.load_state_dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
            network.eval().requires_grad_(requires_grad=False)
        return networks

    def graphs(self) -> dict[str, TracedNetwork]:
        """The networks to trace, by the file that each becomes.

        Raises: DownloadError, ChecksumError: as modules.
        """
        return {_file_name(name): _traced(name, network) for name, network in self.modules().items()}

    def open(self) -> tuple[Graph, ...]:
        """The networks as matchka.modalities.face.detection.FaceDetector takes them; they run in torch.

        Raises: DownloadError, ChecksumError: as modules.
        """
        return tuple(_TorchGraph(network) for network in self.modules().values())


def _traced(name: str, network: nn.Module) -> TracedNetwork:
    return TracedNetwork(
        network,
        GraphInput(INPUT_NAME, (*TRACED_PX[name], 3), "uint8"),
        OUTPUTS if name == "onet" else OUTPUTS[:2],
        tuple((*size, 3) for size in PROVEN_PX[name]),
        ROWS_AND_COLUMNS if name == "pnet" else (),
    )


def _file_name(name: str) -> str:
    return f"{name}.onnx"


class _TorchGraph:
    """A network behind the interface of an ONNX Runtime session."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def run(self, _output_names: Sequence[str] | None, input_feed: Mapping[str, Any]) -> list[Any]:
        with torch.inference_mode():
            outputs = self._network(torch.tensor(input_feed[INPUT_NAME]))
        return [output.numpy() for output in outputs]
