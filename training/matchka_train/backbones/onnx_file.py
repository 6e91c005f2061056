"""Any ONNX file that takes rows of some input, as a backbone: bring your own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
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
from matchka_train.backbones.face.mtcnn import Mtcnn
from matchka_train.backbones.front_end import AnyFrontEndRecipe, FrontEnd
from matchka_train.backbones.recipe import BackboneRecipe
from matchka_train.errors import ChecksumError, DeviceError, FeatureError
from matchka_train.weights.location import WeightsLocation
from matchka_train.weights.source import WeightSource

SMALLEST_NORM: Final = 1e-12  # as in matchka_train.backbones.speaker.ge2e
ONNX_TYPES: Final = {"float32": "tensor(float)", "uint8": "tensor(uint8)"}
THREADS: Final = 2  # at most: several processes share the cores, with one thread of torch each
# what a kind of input cannot be read without, by its name among `auxiliary_graphs()`, out of the folder of packages
REQUIRED_PARTS: Final[Mapping[str, Callable[[Path], RequiredPart]]] = MappingProxyType({Mtcnn.name: Mtcnn})


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
        auxiliary: networks without which its samples are not read.
        front_end: makes what the file takes out of the rows; None where it takes the rows themselves.
    """

    path: Path
    name: str
    source: WeightSource
    input: InputSpec
    embedding_dim: int
    auxiliary: tuple[RequiredPart, ...] = ()
    front_end: FrontEnd | None = None

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
        if self.front_end is None:
            return OnnxModule(_load(self.path, self.input.graph_input(), self.embedding_dim))
        session = _load(self.path, self.front_end.features(self.input), self.embedding_dim)
        return OnnxModule(session, self.front_end.module(self.input))


class OnnxRecipe(WeightsLocation, BackboneRecipe):
    """Any ONNX file that takes rows of some input, or features that a front end makes of them.

    Attributes:
        name: short name.
        input: the rows it takes; `kind: audio` where it says no kind.
        front_end: what is computed of the rows before the file; becomes a part of the bundle's graph.
        embedding_dim: components it returns.
    """

    kind: Literal["onnx"]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    input: AnyInputSpec
    front_end: AnyFrontEndRecipe | None = None
    embedding_dim: int = Field(gt=0)

    @field_validator("input", mode="before")
    @classmethod
    def _of_a_kind(cls, value: Any) -> Any:
        """Recipes written while clips were all that a file could take state no kind."""
        return {"kind": "audio", **value} if isinstance(value, dict) else value

    def open(self) -> OnnxFile:
        """The backbone.

        Raises: ChecksumError, WeightsAbsentError: as WeightsLocation.place.
        """
        path, source = self.place(self.name, file_sha256)
        known = self.input.auxiliary_graphs()
        parts = tuple(
            part(self.downloads_dir) for name, part in REQUIRED_PARTS.items() if name in known and known[name].required
        )
        return OnnxFile(path, self.name, source, self.input, self.embedding_dim, parts, self.front_end)


class OnnxModule(torch.nn.Module):
    """An ONNX Runtime session that can be called like a torch module, but not trained or traced.

    Args:
        session: of the file.
        front_end: makes what the file takes out of the rows.
    """

    def __init__(self, session: onnxruntime.InferenceSession, front_end: torch.nn.Module | None = None) -> None:
        super().__init__()
        self._session = session
        self._front_end = front_end or torch.nn.Identity()
        self._input_name: str = session.get_inputs()[0].name
        self.eval()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Embed rows of the file's input: (n, ...) -> (n, embedding_dim), of unit length.

        Raises:
            FeatureError: something is to be trained through it.
            DeviceError: the rows lie on a GPU.
        """
        if rows.device.type != "cpu":
            raise DeviceError(
                "A backbone of an ONNX file runs on the CPU only.", value=rows.device, remedy="Give --device cpu."
            )
        if rows.requires_grad:
            raise FeatureError(
                "Nothing can be trained through an ONNX file: it gives no gradients.",
                value="rows that require a gradient",
                remedy="Name a backbone that is a network here: dlib, or edgeface with the published weights.",
            )
        taken = self._front_end(rows).numpy()
        (raw,) = self._session.run(None, {self._input_name: np.ascontiguousarray(taken)})
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
        session = open_ort_session(path, min(THREADS, torch.get_num_threads()))
    except BundleError as error:
        raise FeatureError(error.detail, value=error.value, remedy="Export the backbone again.") from error
    inputs = [(i.type, tuple(i.shape)) for i in session.get_inputs()]
    outputs = [(o.type, tuple(o.shape)) for o in session.get_outputs()]
    takes = (
        len(inputs) == 1 and inputs[0][0] == ONNX_TYPES[expected.dtype] and _fits(inputs[0][1], expected.fixed_shape)
    )
    # some exporters leave the width free; what it is shows when the file runs
    gives = len(outputs) == 1 and outputs[0][0] == ONNX_TYPES["float32"] and _fits(outputs[0][1], (embedding_dim,))
    if not (takes and gives):
        shape = ", ".join(str(axis) for axis in expected.shape)
        raise FeatureError(
            f"{path} must take {expected.name} as {expected.dtype} (batch, {shape}) with a free batch axis, and return "
            f"float32 (batch, {embedding_dim}).",
            value={"inputs": inputs, "outputs": outputs},
            remedy="Declare the input the file has, and a front_end where it takes features that are made of it.",
        )
    return session


def _fits(axes: tuple[int | str | None, ...], shape: tuple[int, ...]) -> bool:
    """Whether the batch axis is free, and every other one of the declared size or free too."""
    if len(axes) != 1 + len(shape) or isinstance(axes[0], int):
        return False
    return all(axis == size or not isinstance(axis, int) for axis, size in zip(axes[1:], shape, strict=True))
