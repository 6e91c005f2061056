"""Any ONNX file that takes rows of some input, as a backbone: bring your own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnxruntime
import torch
from pydantic import Field, field_validator

from matchka.bundles.bundle import sha256_of
from matchka.errors import BundleError
from matchka.inference.session import open_ort_session
from matchka.modalities import AnyInputSpec
from matchka.modalities.modality import GraphInput, InputSpec
from matchka_train.backbones.auxiliary import RequiredPart
from matchka_train.backbones.recipe import BackboneRecipe
from matchka_train.errors import ChecksumError, FeatureError
from matchka_train.weights.source import WeightSource

SMALLEST_NORM: Final = 1e-12  # as in matchka_train.backbones.speaker.ge2e
ONNX_TYPES: Final = {"float32": "tensor(float)", "uint8": "tensor(uint8)"}
THREADS: Final = 2


@dataclass(frozen=True)
class OnnxFile:
    """A frozen network given as one ONNX file: rows of its input (n, ...) -> float32 (n, embedding_dim).

    Its embeddings are brought to unit length, whether the file does so or not.

    Attributes:
        path: the file; weights in a file beside it are read too, but only this one is hashed.
        name: short name.
        source: where it came from; its sha256 must be that of the file.
        input: the rows it takes, as declared by whoever brings it.
        embedding_dim: components it returns.
    """

    path: Path
    name: str
    source: WeightSource
    input: InputSpec
    embedding_dim: int
    auxiliary: tuple[RequiredPart, ...] = ()

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
        return OnnxModule(_load(self.path, self.input.graph_input(), self.embedding_dim))


class OnnxRecipe(BackboneRecipe):
    """Any ONNX file that takes rows of some input.

    Attributes:
        path: the file.
        sha256: of the file; where given, another file is refused.
        name: short name.
        input: the rows it takes; `kind: audio` where it says no kind.
        embedding_dim: components it returns.
        source: where it comes from, for the bundle.
        version: of it, for the bundle.
        licence: of its weights, for the bundle.
    """

    kind: Literal["onnx"]
    path: Path
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    input: AnyInputSpec
    embedding_dim: int = Field(gt=0)
    source: str = "not stated"
    version: str = "not stated"
    licence: str = "not stated"

    @field_validator("input", mode="before")
    @classmethod
    def _of_a_kind(cls, value: Any) -> Any:
        """Recipes written while clips were all that a file could take state no kind."""
        return {"kind": "audio", **value} if isinstance(value, dict) else value

    def open(self) -> OnnxFile:
        """The backbone.

        Raises: ChecksumError: there is no such file.
        """
        sha256 = self.sha256 or file_sha256(self.path)
        source = WeightSource(self.name, self.source, self.version, sha256, self.licence)
        return OnnxFile(self.path, self.name, source, self.input, self.embedding_dim)


class OnnxModule(torch.nn.Module):
    """An ONNX Runtime session that can be called like a torch module, but not trained or traced."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        super().__init__()
        self._session = session
        self._input_name: str = session.get_inputs()[0].name
        self.eval()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Embed rows of the file's input: (n, ...) -> (n, embedding_dim), of unit length."""
        (raw,) = self._session.run(None, {self._input_name: np.ascontiguousarray(rows.numpy())})
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


def _load(path: Path, expected: GraphInput, embedding_dim: int) -> onnxruntime.InferenceSession:
    try:
        session = open_ort_session(path, THREADS)
    except BundleError as error:
        raise FeatureError(error.detail, value=error.value, remedy="Export the backbone again.") from error
    inputs = [(i.type, tuple(i.shape)) for i in session.get_inputs()]
    outputs = [(o.type, tuple(o.shape)) for o in session.get_outputs()]
    takes = len(inputs) == 1 and inputs[0][0] == ONNX_TYPES[expected.dtype] and _fits(inputs[0][1], expected.shape)
    gives = len(outputs) == 1 and outputs[0][0] == ONNX_TYPES["float32"] and outputs[0][1][1:] == (embedding_dim,)
    if not (takes and gives):
        shape = ", ".join(str(axis) for axis in expected.shape)
        raise FeatureError(
            f"{path} must take {expected.name} as {expected.dtype} (batch, {shape}) with a free batch axis, and return "
            f"float32 (batch, {embedding_dim}).",
            value={"inputs": inputs, "outputs": outputs},
            remedy="Declare the input the file has; features such as a mel matrix must be computed inside it.",
        )
    return session


def _fits(axes: tuple[int | str | None, ...], shape: tuple[int, ...]) -> bool:
    """Whether the batch axis is free, and every other one of the declared size or free too."""
    if len(axes) != 1 + len(shape) or isinstance(axes[0], int):
        return False
    return all(axis == size or not isinstance(axis, int) for axis, size in zip(axes[1:], shape, strict=True))
