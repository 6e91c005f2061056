"""What a graph for faces takes."""

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from matchka.modalities.face.alignment import Template
from matchka.modalities.face.example import face_like
from matchka.modalities.face.pyramid import PixelArray
from matchka.modalities.modality import AuxiliaryGraphs, GraphInput, InputSpec

DETECTOR_GRAPH_NAMES: Final = ("pnet.onnx", "rnet.onnx", "onet.onnx")
ENHANCER_GRAPH_NAME: Final = "sr.onnx"
NATIVE_PX: Final = "native_px"  # an input of that graph, and what findings call the number
SMALL_PX: Final = 40.0  # side of the square that becomes the chip, in pixels of the picture; below it a face is small


class EnhancerSpec(BaseModel):
    """That small faces are read as well, and which of them a graph enhances before they are embedded.

    The graph takes `chips`, uint8, (batch, chip_px, chip_px, 3), and `native_px`, float32, (batch,); it returns
    `enhanced`, like `chips`. A chip's native_px is the side of the square that it shows, in pixels of the picture.

    Attributes:
        sizes: half-open ranges of native_px, rising, apart and up to SMALL_PX, in which the graph is applied; without
            any, small faces are read and none is enhanced.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sizes: tuple[tuple[float, float], ...] = ()

    @model_validator(mode="after")
    def _rises(self) -> "EnhancerSpec":
        edges = [edge for low_high in self.sizes for edge in low_high]
        if edges != sorted(edges) or any(not 0 <= low < high <= SMALL_PX for low, high in self.sizes):
            # faces of full size are embedded as they are: templates of one version stay comparable (decision 133)
            raise ValueError(f"sizes must be ranges (low, high) with 0 <= low < high <= {SMALL_PX:g}, rising and apart")
        return self

    def covers(self, native_px: float) -> bool:
        """Whether a face of this size is enhanced.

        >>> [EnhancerSpec(sizes=((10, 20), (24, 40))).covers(size) for size in (9.9, 10, 20, 30, 40)]
        [False, True, False, True, False]
        """
        return any(low <= native_px < high for low, high in self.sizes)


class ImageInputSpec(InputSpec):
    """What a bundle's graph takes: square RGB chips, aligned by five landmarks.

    Attributes:
        chip_px: rows and columns of a chip.
        template_points: the landmarks in chip pixels, (0, 0) the outer corner of the first: the eye on the left of the
            picture, the other eye, the nose tip, the mouth corner on the left, the other.
        template_weights: how much each says about the alignment.
        enhancer: how small faces are read; absent where they are refused.
    """

    kind: Literal["image"] = "image"
    chip_px: int = Field(gt=0)
    template_points: tuple[tuple[float, float], ...] = Field(min_length=5, max_length=5)
    template_weights: tuple[float, ...] = Field(min_length=5, max_length=5)
    enhancer: EnhancerSpec | None = Field(default=None, exclude_if=lambda enhancer: enhancer is None)

    @property
    def template(self) -> Template:
        """Where the landmarks lie in a chip."""
        return Template(self.template_points, self.template_weights)

    def graph_input(self) -> GraphInput:
        """Chips: uint8, (batch, chip_px, chip_px, 3)."""
        return GraphInput("chips", (self.chip_px, self.chip_px, 3), "uint8")

    def example(self, rows: int, seed: int) -> PixelArray:
        """Chips like faces."""
        generator = np.random.default_rng(seed)
        return np.stack([face_like(self.chip_px, generator) for _ in range(rows)])

    def content(self) -> dict[str, Any]:
        """Side and template, with the template as a group of its own; the sizes that are enhanced, if any may be."""
        template = {"points": self.template_points, "weights": self.template_weights}
        enhancer = {} if self.enhancer is None else {"enhancer": {"sizes": self.enhancer.sizes}}
        return {"chip_px": self.chip_px, "template": template} | enhancer

    @property
    def verification(self) -> str:
        """The field's name for it."""
        return "face verification"

    def auxiliary_graphs(self) -> Mapping[str, AuxiliaryGraphs]:
        """The detector of faces, and what enhances small ones, where sizes are listed."""
        enhances = self.enhancer is not None and bool(self.enhancer.sizes)
        return {
            "detector": AuxiliaryGraphs("mtcnn", DETECTOR_GRAPH_NAMES, required=True),
            "enhancer": AuxiliaryGraphs("face-enhancer", (ENHANCER_GRAPH_NAME,), required=enhances),
        }

    def measurements(self) -> frozenset[str]:
        """The size of a face."""
        return frozenset({NATIVE_PX})
