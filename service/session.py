"""A graph that embeds: the protocol every caller uses, and ONNX Runtime behind it."""

from pathlib import Path
from typing import Final, Protocol

import numpy as np
import onnxruntime

from service.errors import BundleError, NonFiniteEmbeddingError
from service.vectors import FloatArray

FLOAT32: Final = "tensor(float)"


class Session(Protocol):
    """Turns model inputs (windows, chips) into embeddings."""

    @property
    def full_dim(self) -> int:
        """Components of an embedding."""
        ...

    def embed(self, inputs: FloatArray) -> FloatArray:
        """Embed a batch: float32, (n, ...) -> float32, (n, full_dim), finite, not rescaled. Safe to call from threads.

        Raises: NonFiniteEmbeddingError: the graph returned NaN or infinity.
        """
        ...


class OrtSession:
    """ONNX Runtime on CPU.

    Args:
        graph_path: the bundle's graph.
        input_name: the name the graph must give its input.
        input_shape: its axes behind the batch axis.
        full_dim: components the graph must return.
        threads: threads of one run; 0 lets ONNX Runtime take one per core.

    Raises: BundleError: the file is no graph, or its inputs or outputs are others.
    """

    def __init__(
        self, graph_path: Path, input_name: str, input_shape: tuple[int, ...], full_dim: int, threads: int = 0
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Spinning threads would take the cores from decoding between two runs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(graph_path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own classes derive from Exception alone; nothing is swallowed
            raise BundleError(
                f"{graph_path} is not a graph ONNX Runtime can load.",
                value=error,
                remedy="Build the bundle again with `matchka-export defaults`.",
            ) from error
        self._input_name = input_name
        self._full_dim = full_dim
        self._require_signature(graph_path, input_name, input_shape)

    @property
    def full_dim(self) -> int:
        """Components of an embedding."""
        return self._full_dim

    def embed(self, inputs: FloatArray) -> FloatArray:
        """Embed a batch; see Session.embed."""
        (embeddings,) = self._session.run(None, {self._input_name: np.ascontiguousarray(inputs, np.float32)})
        if not np.all(np.isfinite(embeddings)):
            raise NonFiniteEmbeddingError(
                "The model returned NaN or infinity for this sample.", remedy="Send another recording."
            )
        checked: FloatArray = embeddings
        return checked

    def _require_signature(self, graph_path: Path, input_name: str, input_shape: tuple[int, ...]) -> None:
        inputs = [(i.name, i.type, tuple(i.shape[1:]), isinstance(i.shape[0], str)) for i in self._session.get_inputs()]
        outputs = [(o.type, tuple(o.shape[1:])) for o in self._session.get_outputs()]
        if inputs != [(input_name, FLOAT32, input_shape, True)] or outputs != [(FLOAT32, (self._full_dim,))]:
            raise BundleError(
                f"{graph_path} must take float32 {input_name} of (batch, {', '.join(map(str, input_shape))}) "
                f"and return float32 (batch, {self._full_dim}).",
                value={"inputs": inputs, "outputs": outputs},
                remedy="Build the bundle again with `matchka-export defaults`.",
            )
