"""EdgeFace: aligned chips of 112 pixels -> embeddings, with the published weights from a file on this machine."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from matchka.modalities.face.alignment import Template
from matchka.modalities.face.spec import ImageInputSpec
from matchka_train.backbones.auxiliary import RequiredPart
from matchka_train.backbones.face.edgeface_network import CHIP_PX, EMBEDDING_DIM, EdgeFaceNetwork, EdgeFaceShape
from matchka_train.backbones.onnx_file import file_sha256
from matchka_train.errors import ChecksumError
from matchka_train.weights.source import WeightSource

EdgeFaceVariant: TypeAlias = Literal["xxs", "xs", "s", "base"]
SMALLEST_NORM: Final = 1e-12  # as in matchka_train.backbones.speaker.ge2e
# The shares of rank are those of the published names edgeface_xs_gamma_06 and edgeface_s_gamma_05.
SHAPES: Final[dict[EdgeFaceVariant, EdgeFaceShape]] = {
    "xxs": EdgeFaceShape((24, 48, 88, 168), (2, 2, 6, 2), heads=4, rank_share=None),
    "xs": EdgeFaceShape((32, 64, 100, 192), (3, 3, 9, 3), heads=4, rank_share=0.6),
    "s": EdgeFaceShape((48, 96, 160, 304), (3, 3, 9, 3), heads=8, rank_share=0.5),
    "base": EdgeFaceShape((80, 160, 288, 584), (3, 3, 9, 3), heads=8, rank_share=None),
}
# ArcFace's five points for 96 x 112 chips, moved by 8 into the square (as EdgeFace's own alignment does), and by half
# a pixel: there (0, 0) is the centre of the first pixel, here its outer corner (docs/decisions/071).
TEMPLATE: Final = Template(
    points=(
        (38.79459953, 52.19630051),
        (74.03179932, 52.00139999),
        (56.52519989, 72.23660278),
        (42.04930115, 92.8655014),
        (71.22990036, 92.70410156),
    ),
    weights=(1.0, 1.0, 1.0, 1.0, 1.0),
)
EDGEFACE_INPUT: Final = ImageInputSpec(
    chip_px=CHIP_PX, template_points=TEMPLATE.points, template_weights=TEMPLATE.weights
)
# What torch and the file system raise on a file that is damaged, cut off, or holds code.
UNREADABLE: Final = (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError, SafetensorError)


class UnitLength(nn.Module):
    """Embeddings of unit length out of a network's.

    Args: network: rows (n, ...) -> (n, dim).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Embed rows: (n, ...) -> float32, (n, dim)."""
        return functional.normalize(self.network(rows), dim=1, eps=SMALLEST_NORM)


@dataclass(frozen=True)
class EdgeFace:
    """An EdgeFace variant with weights from a file, behind the MTCNN detector.

    Attributes:
        path: the checkpoint, as published (.pt) or as .safetensors.
        variant: which of the four networks it holds.
        source: where the file came from; its sha256 must be that of the file.
        detector: what finds the faces.
    """

    path: Path
    variant: EdgeFaceVariant
    source: WeightSource
    detector: RequiredPart

    input: ImageInputSpec = EDGEFACE_INPUT
    embedding_dim: int = EMBEDDING_DIM

    @property
    def name(self) -> str:
        """The variant, as a recipe names it."""
        return f"edgeface-{self.variant}"

    @property
    def auxiliary(self) -> tuple[RequiredPart, ...]:
        """The detector."""
        return (self.detector,)

    @property
    def published(self) -> "EdgeFace":
        """Itself."""
        return self

    def module(self) -> nn.Module:
        """The frozen network in evaluation mode: rows -> embeddings.

        Raises: ChecksumError: the file is not the one its source names, cannot be read, or holds another network.
        """
        found = file_sha256(self.path)
        if found != self.source.sha256:
            raise ChecksumError(
                f"{self.path} must have sha256 {self.source.sha256}.", value=found, remedy="Bring the file it names."
            )
        return UnitLength(load_network(self.path, self.variant))


def load_network(path: Path, variant: EdgeFaceVariant) -> EdgeFaceNetwork:
    """A variant with the weights of a file in place; its output is not of unit length.

    Args:
        path: the file; unpickled with tensors allowed and nothing else.
        variant: the network it must hold.

    Raises: ChecksumError: it cannot be read, or holds another network.
    """
    state = _read_state(path)
    network = EdgeFaceNetwork(SHAPES[variant])
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if found != expected:
        raise ChecksumError(
            f"{path} does not hold EdgeFace {variant}.",
            value=_first_difference(expected, found),
            remedy=_which_variant(found),
        )
    network.load_state_dict(state)
    return network.requires_grad_(requires_grad=False).eval()


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise ChecksumError(
            f"{path} is no file of weights that can be read without running code.",
            value=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",  # torch adds advice to run the code
            remedy="Fetch it again from where it was published; a pickle that holds more than tensors is refused.",
        ) from error
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise ChecksumError(
            f"{path} must hold a dictionary of tensors.",
            value=type(state).__name__,
            remedy="Save the network's state_dict() and nothing else.",
        )
    return state


def _first_difference(expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> str:
    names = sorted(expected.keys() | found.keys())
    name = next(name for name in names if expected.get(name) != found.get(name))
    return f"{name}: {found.get(name, 'missing')} instead of {expected.get(name, 'nothing')}"


def _which_variant(found: dict[str, tuple[int, ...]]) -> str:
    """The first layer tells the variants apart."""
    stem = found.get("model.stem.0.weight", (0,))
    for variant, shape in SHAPES.items():
        if stem[0] == shape.channels[0]:
            return f"The file looks like variant: {variant}; name that one if it is meant."
    return f"Bring a checkpoint of EdgeFace; its variants are {', '.join(SHAPES)}."
