"""Anything finished that embeds clips and can be judged: a bundle's graph, or a checkpoint's projection."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import torch

from matchka.modalities.audio.spec import AudioInput
from matchka.modalities.face.alignment import Template
from matchka.modalities.face.reader import ImageInput
from matchka_train.backbones.backbone import Backbone, ModelInput
from matchka_train.backbones.registry import open_backbone
from matchka_train.errors import CheckpointError
from matchka_train.evaluation.validation import EmbedWindows, unchanged
from matchka_train.graph_detector import GraphDetector
from matchka_train.projections.storage import load_projection
from matchka_train.run.candidate import window_embedder
from matchka_train.run.checkpoint import PROJECTION_NAME, RECIPE_NAME
from matchka_train.run.recipe import Recipe, read_recipe
from matchka_train.weights.source import WeightSource

MANIFEST_NAME: Final = "manifest.json"
GRAPH_NAME: Final = "model.onnx"
THREADS: Final = 2


@dataclass(frozen=True)
class Model:
    """A bundle or a checkpoint, opened.

    Attributes:
        path: its folder.
        backbone: what makes features out of windows: the whole graph of a bundle, the frozen backbone of a checkpoint.
        embed_windows: features -> embeddings; nothing is left to do for a bundle.
        dims: dims it was validated for, rising.
        thresholds: dim -> [(false match rate, threshold)] of a reference of one template; empty for a checkpoint.
        recipe: of a checkpoint; None for a bundle.
    """

    path: Path
    backbone: Backbone
    embed_windows: EmbedWindows
    dims: tuple[int, ...]
    thresholds: dict[int, list[tuple[float, float]]]
    recipe: Recipe | None


@dataclass(frozen=True)
class GraphBackbone:
    """A bundle's graph in the place of a backbone; its embeddings are projected and not rescaled.

    Attributes: as matchka_train.backbones.backbone.Backbone.
    """

    path: Path
    name: str
    source: WeightSource
    input: ModelInput
    embedding_dim: int
    detector: GraphDetector | None = None

    @property
    def published(self) -> "GraphBackbone":
        """Itself; the manifest holds what the frozen backbone reaches."""
        return self

    def module(self) -> torch.nn.Module:
        """The graph behind torch's interface."""
        return _GraphModule(self.path)


class _GraphModule(torch.nn.Module):
    def __init__(self, path: Path) -> None:
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        (embeddings,) = self._session.run(None, {self._input: np.ascontiguousarray(windows.numpy())})
        return torch.from_numpy(embeddings)


def open_model(path: Path) -> Model:
    """Open a bundle (manifest.json) or a checkpoint (recipe.yaml).

    Raises:
        CheckpointError: the folder is neither, its graph is not the one its manifest names, or the projection was
            fitted on another backbone.
        ProjectionError, RecipeError: the checkpoint cannot be read.
    """
    if (path / MANIFEST_NAME).is_file():
        return _open_bundle(path)
    if (path / RECIPE_NAME).is_file():
        return _open_checkpoint(path)
    raise CheckpointError(
        f"The folder holds neither a bundle ({MANIFEST_NAME}) nor a checkpoint ({RECIPE_NAME}).",
        value=path,
        remedy="Give the folder that matchka-export or matchka-train wrote.",
    )


def _open_bundle(path: Path) -> Model:
    graph = path / GRAPH_NAME
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST_NAME).read_text(encoding="utf-8"))
        sha256 = hashlib.sha256(graph.read_bytes()).hexdigest()
        if manifest["files"][GRAPH_NAME] != sha256:
            raise CheckpointError("The graph is not the one its manifest names.", value=sha256, remedy=_BUILD_AGAIN)
        source = WeightSource(manifest["name"], str(graph), manifest["version"], sha256, "see the manifest")
        spec = _input_of(manifest["input"])
        detector = None if isinstance(spec, AudioInput) else GraphDetector(path)
        backbone = GraphBackbone(graph, manifest["name"], source, spec, manifest["full_dim"], detector)
        thresholds = {
            int(dim): [(point["fmr"], point["threshold"]) for point in report["operating_points"]["1"]]
            for dim, report in manifest["per_dim"].items()
        }
        return Model(path, backbone, unchanged, tuple(manifest["dims"]), thresholds, None)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"The bundle {path} cannot be read.", value=error, remedy=_BUILD_AGAIN) from error


def _input_of(entry: dict[str, Any]) -> ModelInput:
    values = {name: value for name, value in entry.items() if name != "kind"}
    if entry["kind"] == "audio":
        return AudioInput(**values)
    points = tuple((x, y) for x, y in values["template_points"])
    return ImageInput(values["chip_px"], Template(points, tuple(values["template_weights"])))


def _open_checkpoint(path: Path) -> Model:
    recipe = read_recipe(path / RECIPE_NAME)
    projection, info = load_projection(path / PROJECTION_NAME)
    backbone = open_backbone(recipe.backbone)
    if info.backbone_sha256 != backbone.source.sha256:
        raise CheckpointError(
            f"The projection was fitted on the backbone with sha256 {info.backbone_sha256}.",
            value=backbone.source.sha256,
            remedy="Train again on this backbone.",
        )
    return Model(path, backbone, window_embedder(projection), info.dims, {}, recipe)


_BUILD_AGAIN: Final = "Build the bundle again."
