"""Models that can be evaluated: a bundle's graph, or a checkpoint's projection."""

from dataclasses import dataclass
from pathlib import Path

from matchka.bundles.bundle import read_bundle
from matchka.bundles.manifest import MANIFEST_NAME
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.bundles.scorers import open_scorer
from matchka.scorers import COSINE, Scorer
from matchka_train.backbones.backbone import Backbone
from matchka_train.backbones.served_graph import serve_bundle
from matchka_train.errors import CheckpointError
from matchka_train.evaluation.validation import EmbedWindows, unchanged
from matchka_train.metrics.detection_costs import Line
from matchka_train.projections.storage import load_projection, require_backbone
from matchka_train.run.candidate import window_embedder
from matchka_train.run.checkpoint import PROJECTION_NAME, RECIPE_NAME
from matchka_train.run.recipe import Recipe, read_recipe


@dataclass(frozen=True)
class EvaluatedModel:
    """A bundle or a checkpoint, opened.

    Attributes:
        path: its folder.
        backbone: what makes features out of windows: the whole graph of a bundle, the frozen backbone of a checkpoint.
        embed_windows: features -> embeddings; nothing is left to do for a bundle.
        dims: dims it was validated for, rising.
        thresholds: dim -> [(false match rate, threshold)] of a reference of one template; empty for a checkpoint.
        calibrations: dim -> scale and offset of the log-likelihood ratio, likewise.
        recipe: of a checkpoint; None for a bundle.
        scorer: of a bundle; a checkpoint's projection is judged by cosine.
    """

    path: Path
    backbone: Backbone
    embed_windows: EmbedWindows
    dims: tuple[int, ...]
    thresholds: dict[int, list[tuple[float, float]]]
    calibrations: dict[int, Line]
    recipe: Recipe | None
    scorer: Scorer = COSINE


def open_model(path: Path) -> EvaluatedModel:
    """Open a bundle (manifest.json) or a checkpoint (recipe.yaml).

    Raises:
        CheckpointError: the folder is neither, or the projection was fitted on another backbone.
        BundleError: the bundle does not check out.
        OutputNotAvailableError: its graph does not embed.
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


def _open_bundle(path: Path) -> EvaluatedModel:
    bundle = read_bundle(path)
    embedding = bundle.manifest.output(EmbeddingOutput)
    thresholds = {
        int(dim): [(point.fmr, point.threshold) for point in report.operating_points["1"]]
        for dim, report in embedding.per_dim.items()
    }
    calibrations = {
        int(dim): (report.calibration["1"].scale, report.calibration["1"].offset)
        for dim, report in embedding.per_dim.items()
        if "1" in report.calibration
    }
    graph, scorer = serve_bundle(bundle), open_scorer(bundle.path, bundle.manifest)
    return EvaluatedModel(path, graph, unchanged, embedding.dims, thresholds, calibrations, None, scorer)


def _open_checkpoint(path: Path) -> EvaluatedModel:
    recipe = read_recipe(path / RECIPE_NAME)
    projection, info = load_projection(path / PROJECTION_NAME)
    backbone = recipe.backbone.open()
    require_backbone(info, backbone)
    return EvaluatedModel(path, backbone, window_embedder(projection), info.dims, {}, {}, recipe)
