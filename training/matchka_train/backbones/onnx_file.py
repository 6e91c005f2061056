"""Any ONNX file that takes waveform windows, as a backbone: bring your own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
import torch

from matchka.bundles.bundle import sha256_of
from matchka.errors import BundleError
from matchka.inference.session import open_ort_session
from matchka.modalities.audio.spec import AudioInputSpec
from matchka_train.errors import ChecksumError, FeatureError
from matchka_train.weights.source import WeightSource

SMALLEST_NORM: Final = 1e-12  # as in matchka_train.backbones.speaker.ge2e
WAVEFORM: Final = "tensor(float)"
THREADS: Final = 2


@dataclass(frozen=True)
class OnnxFile:
    """A frozen network given as one ONNX file: float32 windows (n, window_samples) -> float32 (n, embedding_dim).

    Its embeddings are brought to unit length, whether the file does so or not.

    Attributes:
        path: the file; weights in a file beside it are read too, but only this one is hashed.
        name: short name.
        source: where it came from; its sha256 must be that of the file.
        input: the windows it takes, as declared by whoever brings it.
        embedding_dim: components it returns.
    """

    path: Path
    name: str
    source: WeightSource
    input: AudioInputSpec
    embedding_dim: int
    detector: None = None

    @property
    def published(self) -> "OnnxFile":
        """Itself."""
        return self

    def module(self) -> torch.nn.Module:
        """The network behind torch's interface; see Backbone.module.

        Raises:
            ChecksumError: the file is not the one its source names, or not there.
            FeatureError: it is no ONNX file, or takes or returns something else than declared.
        """
        found = file_sha256(self.path)
        if found != self.source.sha256:
            raise ChecksumError(
                f"{self.path} must have sha256 {self.source.sha256}.", value=found, remedy="Bring the file it names."
            )
        return OnnxModule(_load(self.path, self.input.window_samples, self.embedding_dim))


class OnnxModule(torch.nn.Module):
    """An ONNX Runtime session that can be called like a torch module, but not trained or traced."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        super().__init__()
        self._session = session
        self._input_name: str = session.get_inputs()[0].name
        self.eval()

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Embed windows: float32, (n, window_samples) -> (n, embedding_dim), of unit length."""
        (raw,) = self._session.run(None, {self._input_name: np.ascontiguousarray(windows.numpy(), np.float32)})
        embeddings: torch.Tensor = torch.from_numpy(raw)
        unit: torch.Tensor = embeddings / torch.linalg.vector_norm(embeddings, dim=1, keepdim=True).clamp(
            min=SMALLEST_NORM
        )
        return unit


def file_sha256(path: Path) -> str:
    """The sha256 of a weights file.

    Raises: ChecksumError: there is none.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        raise ChecksumError(f"{path} cannot be read.", value=error, remedy="Check the path of the backbone.") from error


def _load(path: Path, window_samples: int, embedding_dim: int) -> onnxruntime.InferenceSession:
    try:
        session = open_ort_session(path, THREADS)
    except BundleError as error:
        raise FeatureError(error.detail, value=error.value, remedy="Export the backbone again.") from error
    inputs = [(i.type, tuple(i.shape)) for i in session.get_inputs()]
    outputs = [(o.type, tuple(o.shape)) for o in session.get_outputs()]
    axes = inputs[0][1] if len(inputs) == 1 else ()
    # an axis without a fixed size takes the declared one too
    free_batch = len(axes) == 2 and not isinstance(axes[0], int)
    takes = free_batch and inputs[0][0] == WAVEFORM and (axes[1] == window_samples or not isinstance(axes[1], int))
    gives = len(outputs) == 1 and outputs[0][0] == WAVEFORM and outputs[0][1][1:] == (embedding_dim,)
    if not (takes and gives):
        raise FeatureError(
            f"{path} must take float32 waveform windows (batch, {window_samples}) with a free batch axis, and return "
            f"float32 (batch, {embedding_dim}).",
            value={"inputs": inputs, "outputs": outputs},
            remedy="Declare the input the file has; features such as a mel matrix must be computed inside it.",
        )
    return session
