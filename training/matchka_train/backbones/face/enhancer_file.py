"""Enhancers as files: trained here (.safetensors), or a graph of somebody's own (.onnx)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError

from matchka.bundles.bundle import sha256_of
from matchka.inference.session import open_ort_session
from matchka.modalities.face.enhancement import CHIPS, ENHANCED
from matchka.modalities.face.pyramid import PixelArray
from matchka.modalities.face.spec import NATIVE_PX
from matchka.modalities.graph import Graph
from matchka.vectors import FloatArray
from matchka_train.backbones.face.enhancer import Enhancer
from matchka_train.errors import WeightsError
from matchka_train.strict_model import StrictModel
from matchka_train.weights.tensor_file import read_tensors, write_tensors

FORMAT: Final = "matchka-enhancer-1"
DESCRIPTION: Final = "matchka"  # the key of the metadata that holds all of it
GRAPH_SUFFIX: Final = ".onnx"
BATCH: Final = 16
THREADS: Final = 1


class EnhancerParts(StrictModel):
    """Sizes of the network; see matchka_train.backbones.face.enhancer.Enhancer."""

    channels: int = Field(default=48, ge=1)
    blocks: int = Field(default=2, ge=1)
    outer: int = Field(default=16, ge=1)
    places: int = Field(default=8, ge=1)

    def build(self, chip_px: int) -> Enhancer:
        """The untrained network."""
        return Enhancer(chip_px, self.channels, self.blocks, self.outer, self.places)


class EnhancerDescription(StrictModel):
    """What a file says of its weights.

    Attributes:
        format: of the file.
        chip_px: side of the chips.
        parts: of the network.
        backbone: name of the one that it was trained through.
        backbone_sha256: of that one's weights.
        training: the recipe.
        record: hashes of the recipe and of what its data sets held.
        datasets: what it was trained on.
    """

    format: str = Field(default=FORMAT, pattern=f"^{FORMAT}$")
    chip_px: int
    parts: EnhancerParts
    backbone: str
    backbone_sha256: str
    training: dict[str, Any]
    record: dict[str, str]
    datasets: tuple[dict[str, str], ...]


class ChipEnhancer(Protocol):
    """Anything that enhances chips as sr.onnx of a bundle does."""

    def enhance(self, chips: PixelArray, native_px: FloatArray) -> PixelArray:
        """Uint8, (n, chip_px, chip_px, 3), and float32, (n,) -> uint8 of the chips' shape."""
        ...


@dataclass(frozen=True)
class TrainedEnhancer:
    """A network of this project. Attributes: network: in evaluation mode. description: of it. sha256: of its file."""

    network: Enhancer
    description: EnhancerDescription
    sha256: str

    @property
    def source(self) -> str:
        """Where it comes from, in words."""
        return f"trained by matchka-train through {self.description.backbone}"

    @property
    def licence(self) -> str:
        """Of this project, as of all that is fitted here."""
        return "Apache-2.0"

    def enhance(self, chips: PixelArray, native_px: FloatArray) -> PixelArray:
        """As ChipEnhancer."""
        return enhance_all(self.network, chips, native_px)


@dataclass(frozen=True)
class GraphEnhancer:
    """Somebody's own: a graph with the inputs and the output of sr.onnx. Attributes: path: of it. sha256: of it."""

    path: Path
    sha256: str

    @cached_property
    def _session(self) -> Graph:
        session: Graph = open_ort_session(self.path, THREADS)
        return session

    @property
    def source(self) -> str:
        """Where it comes from, in words."""
        return f"brought along: {self.path.name}"

    @property
    def licence(self) -> str:
        """Only who brought it knows."""
        return "not stated"

    def enhance(self, chips: PixelArray, native_px: FloatArray) -> PixelArray:
        """As ChipEnhancer.

        Raises: BundleError: the file is no graph. WeightsError: it returns something else.
        """
        found = []
        for start in range(0, len(chips), BATCH):
            some = slice(start, start + BATCH)
            (enhanced,) = self._session.run([ENHANCED], {CHIPS: chips[some], NATIVE_PX: native_px[some]})
            if enhanced.shape != chips[some].shape or enhanced.dtype != np.uint8:
                raise WeightsError(
                    f"{self.path} must return uint8 chips of the shape that it was given.",
                    value=f"{enhanced.dtype}, {enhanced.shape}",
                    remedy=f"Inputs are {CHIPS} and {NATIVE_PX}, the output is {ENHANCED}; see docs/faces.md.",
                )
            found.append(np.asarray(enhanced))
        return np.concatenate(found)


def enhance_all(network: torch.nn.Module, chips: PixelArray, native_px: FloatArray) -> PixelArray:
    """Run a network over chips, as ChipEnhancer.enhance."""
    with torch.inference_mode():
        parts = [
            network(torch.tensor(chips[start : start + BATCH]), torch.tensor(native_px[start : start + BATCH]))
            for start in range(0, len(chips), BATCH)
        ]
    enhanced: PixelArray = torch.cat(parts).numpy()
    return enhanced


def write_enhancer(path: Path, network: Enhancer, description: EnhancerDescription) -> None:
    """Write a network; the file is whole or not there, and has the same bytes for the same content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, network.state_dict(), {DESCRIPTION: description.model_dump_json()})


def open_enhancer(path: Path) -> TrainedEnhancer | GraphEnhancer:
    """An enhancer by what its file is: one of this project, or a graph.

    Raises: WeightsError: neither of them.
    """
    if path.suffix == GRAPH_SUFFIX and path.is_file():
        return GraphEnhancer(path, sha256_of(path))
    return read_enhancer(path)


def read_enhancer(path: Path) -> TrainedEnhancer:
    """Read what write_enhancer wrote; nothing in the file is run.

    Raises: WeightsError: no such file, or none that write_enhancer wrote.
    """
    try:
        tensors, metadata = read_tensors(path)
        description = EnhancerDescription.model_validate(json.loads(metadata[DESCRIPTION]))
        network = description.parts.build(description.chip_px)
        network.load_state_dict(_all_tensors(tensors))
    except (OSError, SafetensorError, KeyError, ValueError, ValidationError, RuntimeError) as error:
        raise WeightsError(
            f"{path} is no enhancer of this project.", value=error, remedy="Train one with `matchka-train run`."
        ) from error
    return TrainedEnhancer(network.requires_grad_(False).eval(), description, sha256_of(path))


def _all_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return dict(tensors)
