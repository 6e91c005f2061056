"""The part of an inference session that detectors of faces and of speech need."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Graph(Protocol):
    """The part of `onnxruntime.InferenceSession` that detection needs."""

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any]) -> list[Any]:
        """Run the graph on named inputs and return the outputs in the order of their names, or all of them."""
        ...
