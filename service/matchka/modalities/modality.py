"""What a modality has to say of itself: what its graphs take, and which graphs help to read its samples."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

InputDtype: TypeAlias = Literal["float32", "uint8"]
InputArray: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.uint8]


@dataclass(frozen=True)
class GraphInput:
    """The one input of a graph.

    Attributes:
        name: of the input.
        shape: its axes behind the batch axis.
        dtype: type of its numbers.
    """

    name: str
    shape: tuple[int, ...]
    dtype: InputDtype


@dataclass(frozen=True)
class AuxiliaryGraphs:
    """Graphs of a bundle beside the one that embeds, without which its samples are not read, or less closely.

    Attributes:
        files: their names in the bundle's folder.
        required: whether a bundle may do without them.
    """

    files: tuple[str, ...]
    required: bool


class InputSpec(BaseModel, ABC):
    """A manifest's `input`: how samples become rows, and what the graph takes. One class for each kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str

    @abstractmethod
    def graph_input(self) -> GraphInput:
        """The input of the bundle's graph."""

    @abstractmethod
    def example(self, rows: int, seed: int) -> InputArray:
        """Noise in the shape, type and range of real rows, (rows, ...); the same for the same seed."""

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """The values that rows depend on. Versions and cache keys are hashes of them: their form must not change."""

    def auxiliary_graphs(self) -> Mapping[str, AuxiliaryGraphs]:
        """Those that a bundle may name beside its own graph, by their entry in the manifest."""
        return {}
