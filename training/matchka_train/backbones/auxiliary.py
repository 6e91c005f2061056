"""Graphs that stand beside a backbone: what reading its samples needs, and what its bundle carries along."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from matchka.modalities.graph import Graph
from matchka.modalities.modality import GraphInput
from matchka_train.weights.source import WeightSource

if TYPE_CHECKING:
    import torch  # as in matchka_train.backbones.backbone


class RequiredPart(Protocol):
    """Networks without which a backbone's samples are not read, not opened yet.

    Attributes:
        name: as `auxiliary_graphs()` of the backbone's input names them.
        sha256: of all of them together; cached features and the version of a bundle depend on it.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described above
    @property
    def sha256(self) -> str: ...  # noqa: D102

    def open(self) -> tuple[Graph, ...]:
        """The graphs, in the order of the input's `auxiliary_graphs()`."""
        ...


@dataclass(frozen=True)
class TracedNetwork:
    """A network that becomes a graph of the bundle.

    Attributes:
        module: frozen and in evaluation mode; rows (n, ...) -> one or several arrays.
        input: its input, with the sizes that it is traced at.
        outputs: names of what it returns.
        proven_shapes: shapes behind the batch axis at which the graph has to compute what the module computes.
        free_axes: axes beside the first whose size may change.
        further_inputs: one value a row each, behind the first input.
        tolerance: the largest difference of the graph from the module, in any number that it returns.
    """

    module: "torch.nn.Module"
    input: GraphInput
    outputs: tuple[str, ...]
    proven_shapes: tuple[tuple[int, ...], ...]
    free_axes: tuple[int, ...] = ()
    further_inputs: tuple[GraphInput, ...] = ()
    tolerance: float = 1e-4


@runtime_checkable
class ExportablePart(Protocol):
    """An auxiliary part that can be written into a bundle.

    Attributes:
        name: its entry in the manifest.
        kind: which one it is, of those that readers of the service know.
        sources: file in the bundle -> where its weights came from.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described above
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def sources(self) -> Mapping[str, WeightSource]: ...  # noqa: D102

    def graphs(self) -> Mapping[str, TracedNetwork | bytes]:
        """File in the bundle -> a network to trace, or the bytes of a graph as its makers published it.

        Raises: DownloadError, ChecksumError: the weights are not to be had, or are others.
        """
        ...
