"""One training run, top to bottom: data sets -> features -> projection -> validation -> checkpoint."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.progress import Progress

from service.media.audio import AudioLimits
from service.vectors import FloatArray
from training.backbones.backbone import Backbone
from training.datasets.reader import read_datasets
from training.datasets.sample import Sample
from training.datasets.splits import require_disjoint
from training.errors import RecipeError
from training.features import Features, extract_features, join_features
from training.projections.affine import AffineProjection
from training.projections.rotation import RotationRecipe, fit_rotation
from training.projections.storage import ProjectionInfo, save_projection
from training.projections.whitening import fit_whitening
from training.recipe import DatasetRecipe, Recipe, write_recipe
from training.validate import EmbedWindows, Report, validate


@dataclass(frozen=True)
class Outcome:
    """What a run leaves: the checkpoint's folder, and the accuracy of the projection and of the raw backbone."""

    checkpoint: Path
    projected: Report
    raw: Report
    skipped: int


def run(recipe: Recipe, backbone: Backbone, progress: Progress) -> Outcome:
    """Train by a recipe and write the checkpoint.

    Args:
        recipe: validated.
        backbone: the network the recipe names.
        progress: shows how far it is.

    Raises: MatchkaError: a data set, the backbone or the fit is not what the recipe says; nothing is half-written.
    """
    if recipe.dims[-1] > backbone.embedding_dim:
        raise RecipeError(
            f"The backbone {backbone.name} has {backbone.embedding_dim} components.",
            value=recipe.dims[-1],
            remedy="Lower the largest of dims.",
        )
    train_samples = read_datasets(recipe.data.train)
    validation_samples = read_datasets(recipe.data.validation)
    require_disjoint(_flat(train_samples), _flat(validation_samples))
    train = _features(train_samples, recipe, backbone, progress)
    validation = _features(validation_samples, recipe, backbone, progress)
    projection = _fit(join_features(train), recipe)
    projected = validate(window_embedder(projection), validation, recipe.dims)
    raw = validate(lambda windows: windows, validation, recipe.dims)
    skipped = sum(len(features.skipped) for features in (*train, *validation))
    _write_checkpoint(recipe, backbone, projection, projected, raw)
    return Outcome(recipe.output_dir, projected, raw, skipped)


def window_embedder(projection: torch.nn.Module) -> EmbedWindows:
    """A projection as a function of float32 arrays: (windows, in_dim) -> (windows, full_dim)."""

    def embed(windows: FloatArray) -> FloatArray:
        with torch.inference_mode():
            projected: FloatArray = projection(torch.from_numpy(windows.copy())).numpy()
        return projected

    return embed


def _features(
    datasets: Sequence[list[Sample]], recipe: Recipe, backbone: Backbone, progress: Progress
) -> list[Features]:
    limits = AudioLimits(recipe.data.max_duration_s, recipe.data.min_speech_s)
    return [extract_features(samples, backbone, recipe.data.cache_dir, progress, limits) for samples in datasets]


def _fit(train: Features, recipe: Recipe) -> AffineProjection:
    full = (
        fit_rotation(train, recipe.projection)
        if isinstance(recipe.projection, RotationRecipe)
        else fit_whitening(train, recipe.projection)
    )
    kept = recipe.dims[-1]
    return AffineProjection(full.weight.numpy()[:kept], full.bias.numpy()[:kept])


def _write_checkpoint(
    recipe: Recipe, backbone: Backbone, projection: torch.nn.Module, projected: Report, raw: Report
) -> None:
    folder = recipe.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    info = ProjectionInfo(
        family=recipe.projection.family,
        kind="affine",
        dims=recipe.dims,
        backbone=backbone.name,
        backbone_sha256=backbone.source.sha256,
        datasets=tuple(
            _dataset_use(dataset, use)
            for use, datasets in (("projection fitted", recipe.data.train), ("validated", recipe.data.validation))
            for dataset in datasets
        ),
    )
    save_projection(folder / "projection.safetensors", projection, info)
    write_recipe(folder / "recipe.yaml", recipe)
    report = {"projected": _as_json(projected), "raw": _as_json(raw)}
    (folder / "report.json").write_text(json.dumps(report, indent=2), encoding="utf-8")


def _dataset_use(dataset: DatasetRecipe, use: str) -> dict[str, str]:
    return {"name": dataset.corpus, "source": dataset.source, "licence": dataset.licence, "use": use}


def _as_json(report: Report) -> dict[str, dict[str, object]]:
    return {
        domain: {str(dim): asdict(accuracy) for dim, accuracy in per_dim.items()} for domain, per_dim in report.items()
    }


def _flat(datasets: Sequence[list[Sample]]) -> list[Sample]:
    return [sample for samples in datasets for sample in samples]
