"""Enhancement of small faces: chips with little in them -> chips of the same size that are told apart more easily."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from matchka.errors import BundleError
from matchka.modalities.face.reader import FaceReading
from matchka.modalities.face.spec import ENHANCER_GRAPH_NAME, NATIVE_PX, EnhancerSpec, ImageInputSpec
from matchka.modalities.graph import Graph
from matchka.modalities.modality import Graphs, OpenedGraph

CHIPS: Final = "chips"
ENHANCED: Final = "enhanced"
UINT8, FLOAT32 = "tensor(uint8)", "tensor(float)"
_REMEDY: Final = "Export the bundle again with an enhancer that takes and returns this."


class Enhancer:
    """Enhances the chips of faces whose size the bundle lists.

    Args:
        graph: see EnhancerSpec.
        spec: the sizes.
    """

    def __init__(self, graph: Graph, spec: EnhancerSpec) -> None:
        self._graph = graph
        self._spec = spec

    def applies_to(self, readings: Sequence[FaceReading]) -> bool:
        """Whether any of them is enhanced."""
        return any(self._covers(reading) for reading in readings)

    def enhance(self, readings: Sequence[FaceReading]) -> list[FaceReading]:
        """Enhance those that are small; the others stay as they are.

        One after the other: what a chip becomes must not depend on whom else a picture shows.
        """
        return [self._enhanced(reading) if self._covers(reading) else reading for reading in readings]

    def _covers(self, reading: FaceReading) -> bool:
        return reading.native_px is not None and self._spec.covers(reading.native_px)

    def _enhanced(self, reading: FaceReading) -> FaceReading:
        given = {CHIPS: reading.chip[None], NATIVE_PX: np.array([reading.native_px], np.float32)}
        (chips,) = self._graph.run([ENHANCED], given)
        return replace(reading, chip=chips[0], enhanced=True)


def open_enhancer(spec: ImageInputSpec, graphs: Graphs) -> Enhancer | None:
    """The enhancer of one bundle, if it has one.

    Raises: BundleError: the manifest lists sizes and no graph, or a graph and no sizes; the file is no graph, takes or
        returns something else, or does not run.
    """
    listed = spec.enhancer if spec.enhancer is not None and spec.enhancer.sizes else None
    if (listed is not None) != graphs.has(ENHANCER_GRAPH_NAME):
        raise BundleError(
            f"{graphs.folder} must name {ENHANCER_GRAPH_NAME} and the sizes it is for, or neither.",
            value=spec.enhancer,
            remedy=_REMEDY,
        )
    if listed is None:
        return None
    path, graph = graphs.folder / ENHANCER_GRAPH_NAME, graphs.open(ENHANCER_GRAPH_NAME)
    side = (spec.chip_px, spec.chip_px, 3)
    _require_signature(path, graph, side)
    enhancer = Enhancer(graph, listed)
    try:
        (tried,) = enhancer.enhance([FaceReading(spec.example(1, seed=0)[0], None, None, native_px=listed.sizes[0][0])])
    except Exception as error:  # ONNX Runtime's own classes derive from Exception alone; nothing is swallowed
        raise BundleError(f"{path} does not run.", value=error, remedy=_REMEDY) from error
    if tried.chip.shape != side:
        raise BundleError(f"{path} must return chips of {side}.", value=tried.chip.shape, remedy=_REMEDY)
    return enhancer


def _require_signature(path: Path, graph: OpenedGraph, side: tuple[int, int, int]) -> None:
    takes = {
        part.name: (part.type, tuple(part.shape[1:]), isinstance(part.shape[0], str)) for part in graph.get_inputs()
    }
    returns = {part.name: part.type for part in graph.get_outputs()}
    wanted = {CHIPS: (UINT8, side, True), NATIVE_PX: (FLOAT32, (), True)}
    if (takes, returns) != (wanted, {ENHANCED: UINT8}):
        raise BundleError(
            f"{path} must take uint8 {CHIPS} of (batch, {', '.join(map(str, side))}) and float32 {NATIVE_PX} of "
            f"(batch), and return uint8 {ENHANCED} like {CHIPS}.",
            value={"inputs": takes, "outputs": returns},
            remedy=_REMEDY,
        )
