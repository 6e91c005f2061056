"""What a graph for faces takes."""

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field

from matchka.modalities.face.alignment import Template
from matchka.modalities.face.example import face_like
from matchka.modalities.face.pyramid import PixelArray
from matchka.modalities.modality import AuxiliaryGraphs, GraphInput, InputSpec

DETECTOR_GRAPH_NAMES: Final = ("pnet.onnx", "rnet.onnx", "onet.onnx")


class ImageInputSpec(InputSpec):
    """What a bundle's graph takes: square RGB chips, aligned by five landmarks.

    Attributes:
        chip_px: rows and columns of a chip.
        template_points: the landmarks in chip pixels, (0, 0) the outer corner of the first: the eye on the left of the
            picture, the other eye, the nose tip, the mouth corner on the left, the other.
        template_weights: how much each says about the alignment.
    """

    kind: Literal["image"] = "image"
    chip_px: int = Field(gt=0)
    template_points: tuple[tuple[float, float], ...] = Field(min_length=5, max_length=5)
    template_weights: tuple[float, ...] = Field(min_length=5, max_length=5)

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
        """Side and template, with the template as a group of its own."""
        template = {"points": self.template_points, "weights": self.template_weights}
        return {"chip_px": self.chip_px, "template": template}

    @property
    def verification(self) -> str:
        """The field's name for it."""
        return "face verification"

    def auxiliary_graphs(self) -> Mapping[str, AuxiliaryGraphs]:
        """The detector of faces."""
        return {"detector": AuxiliaryGraphs("mtcnn", DETECTOR_GRAPH_NAMES, required=True)}
