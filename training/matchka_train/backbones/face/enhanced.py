"""A backbone for faces whose small ones are enhanced first; what it embeds at full size stays as it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import torch

from matchka.bundles.outputs.condition import Condition
from matchka.inference.session import open_ort_session
from matchka.modalities.face.enhancement import CHIPS, ENHANCED
from matchka.modalities.face.spec import ENHANCER_GRAPH_NAME, NATIVE_PX, SMALL_PX, EnhancerSpec, ImageInputSpec
from matchka.modalities.graph import Graph
from matchka.modalities.modality import GraphInput
from matchka_train.backbones.auxiliary import RequiredPart, TracedNetwork
from matchka_train.backbones.backbone import Backbone
from matchka_train.backbones.face.enhancer_file import (
    THREADS,
    GraphEnhancer,
    TrainedEnhancer,
    open_enhancer,
)
from matchka_train.errors import FeatureError, WeightsError
from matchka_train.weights.source import WeightSource

# Between the sizes that are judged, at about their geometric means; from the last on, a face is of full size.
EDGES_PX: Final = (20.0, 28.0, SMALL_PX)
LEAST_PX: Final = 12.0  # that enhancers are trained on
GREY_LEVEL: Final = 1.0  # torch and the graph may round a half differently


@dataclass(frozen=True)
class EnhancerPart:
    """The graph that enhances; see ExportablePart in matchka_train.backbones.auxiliary.

    Attributes: path: the enhancer's file. enhancer: opened.
    """

    path: Path
    enhancer: TrainedEnhancer | GraphEnhancer
    chip_px: int

    name: ClassVar[str] = "enhancer"
    kind: ClassVar[str] = "face-enhancer"

    @property
    def sources(self) -> Mapping[str, WeightSource]:
        """Where it comes from."""
        return {
            ENHANCER_GRAPH_NAME: WeightSource(
                name="enhancer of small faces",
                source=self.enhancer.source,
                version="1",
                sha256=self.enhancer.sha256,
                licence=self.enhancer.licence,
            )
        }

    @property
    def sha256(self) -> str:
        """Of its file."""
        return self.enhancer.sha256

    def graphs(self) -> Mapping[str, TracedNetwork | bytes]:
        """The network to trace, or somebody's own graph as it is."""
        if isinstance(self.enhancer, GraphEnhancer):
            return {ENHANCER_GRAPH_NAME: self.path.read_bytes()}
        chips = GraphInput(CHIPS, (self.chip_px, self.chip_px, 3), "uint8")
        sizes = GraphInput(NATIVE_PX, (), "float32")
        network: torch.nn.Module = self.enhancer.network
        shape = (chips.fixed_shape,)
        return {
            ENHANCER_GRAPH_NAME: TracedNetwork(network, chips, (ENHANCED,), shape, (), (sizes,), tolerance=GREY_LEVEL)
        }

    def open(self) -> tuple[Graph, ...]:
        """The graph of somebody's own.

        Raises: WeightsError: it is no graph yet.
        """
        if isinstance(self.enhancer, TrainedEnhancer):
            raise WeightsError("The enhancer is not traced yet.", value=self.path, remedy="Export it first.")
        return (open_ort_session(self.path, THREADS),)


@dataclass(frozen=True)
class EnhancedFace:
    """See Backbone and ConditionedBackbone in matchka_train.backbones.backbone.

    Attributes:
        plain: the backbone.
        part: its enhancer.
        sizes: where it is applied, as EnhancerSpec.sizes.
    """

    plain: Backbone
    part: EnhancerPart
    sizes: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, plain: Backbone, enhancer: Path, sizes: tuple[tuple[float, float], ...]) -> "EnhancedFace":
        """Put an enhancer's file before a backbone.

        Raises:
            WeightsError: no enhancer, or one that was trained through another backbone or for other chips.
            FeatureError: the backbone takes no faces.
        """
        spec, opened = plain.input, open_enhancer(enhancer)
        if not isinstance(spec, ImageInputSpec):
            raise FeatureError("Only faces can be enhanced.", value=spec.kind, remedy="Leave the enhancer out.")
        if isinstance(opened, TrainedEnhancer):
            described = opened.description
            if (described.chip_px, described.backbone_sha256) != (spec.chip_px, plain.source.sha256):
                raise WeightsError(
                    f"The enhancer was trained through {described.backbone}, for chips of {described.chip_px} px.",
                    value=f"{plain.name}, {spec.chip_px} px",
                    remedy="Train one through this backbone: matchka-train run face-lowres.yaml.",
                )
        return cls(plain, EnhancerPart(enhancer, opened, spec.chip_px), sizes)

    @property
    def input(self) -> ImageInputSpec:
        """The backbone's, which says which small faces are enhanced."""
        spec = self.plain.input
        if not isinstance(spec, ImageInputSpec):
            raise FeatureError("Only faces can be enhanced.", value=spec.kind, remedy="Leave the enhancer out.")
        return spec.model_copy(update={"enhancer": EnhancerSpec(sizes=self.sizes)})

    @property
    def condition(self) -> Condition:
        """The size of a face in its picture."""
        return Condition(value=NATIVE_PX, edges=EDGES_PX, source="sample")

    @property
    def auxiliary(self) -> tuple[RequiredPart, ...]:
        """The detector, and the enhancer."""
        return (*self.plain.auxiliary, self.part)

    @property
    def name(self) -> str:
        """The backbone's."""
        return self.plain.name

    @property
    def source(self) -> WeightSource:
        """The backbone's."""
        return self.plain.source

    @property
    def embedding_dim(self) -> int:
        """The backbone's."""
        return self.plain.embedding_dim

    @property
    def published(self) -> Backbone:
        """The backbone's."""
        return self.plain.published

    def module(self) -> torch.nn.Module:
        """The backbone's: enhanced chips go the way of all."""
        return self.plain.module()


def size_range(size_px: float) -> tuple[float, float]:
    """The half-open range of native sizes that one which was judged speaks for.

    Raises: FeatureError: it is of full size.

    >>> size_range(16), size_range(24), size_range(32)
    ((12.0, 20.0), (20.0, 28.0), (28.0, 40.0))
    """
    for low, high in zip((LEAST_PX, *EDGES_PX), EDGES_PX, strict=False):
        if low <= size_px < high:
            return low, high
    raise FeatureError("No range of sizes holds this one.", value=size_px, remedy=f"Judge below {EDGES_PX[-1]:g} px.")
