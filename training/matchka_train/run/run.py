"""One training run, top to bottom: data sets -> features -> projection -> validation -> checkpoint and report."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from rich.progress import Progress

from matchka_train.backbones.backbone import Backbone
from matchka_train.errors import DivergedError, RecipeError
from matchka_train.evaluation.identification import IdentificationReport, identification_report
from matchka_train.evaluation.lookalikes import require_no_lookalikes
from matchka_train.evaluation.validation import Report, unchanged, validate
from matchka_train.features.compute import ONE_PROCESS, Compute
from matchka_train.features.extraction import extract_features
from matchka_train.features.features import join_features, with_trials
from matchka_train.fitting.selection import best_of
from matchka_train.modalities import modality_of
from matchka_train.modalities.acoustics.environment import open_environment
from matchka_train.modalities.augmentation import View
from matchka_train.projections.storage import ProjectionInfo
from matchka_train.run.candidate import Fitted, Prepared, fit_candidate, window_embedder
from matchka_train.run.checkpoint import PROJECTION_NAME, RECIPE_NAME, CheckpointFolder
from matchka_train.run.data import DataSets, read_data
from matchka_train.run.recipe import Recipe, write_recipe
from matchka_train.run.record import record_of
from matchka_train.run.shuffled_labels import FOLDER as SHUFFLED_FOLDER
from matchka_train.run.shuffled_labels import fit_shuffled
from matchka_train.run.summary import write_summary
from matchka_train.run.tracking import forget_runs, require_tracking


@dataclass(frozen=True)
class Outcome:
    """What a run leaves.

    Attributes:
        checkpoint: the folder, with projection.safetensors, recipe.yaml, report.json and report.html.
        projected: accuracy of the projection.
        raw: accuracy of the raw backbone.
        skipped: clips that could not be read.
        fitted: every candidate that was tried, the best first.
        notes: what a reader has to know: candidates that diverged, losses that stayed flat.
        identified: gallery against probes, where a domain has enough samples of people.
        raw_identified: the same of the raw backbone.
    """

    checkpoint: Path
    projected: Report
    raw: Report
    skipped: int
    fitted: tuple[Fitted, ...]
    notes: tuple[str, ...]
    identified: IdentificationReport
    raw_identified: IdentificationReport


def run(
    recipe: Recipe, backbone: Backbone, progress: Progress, *, fresh: bool = False, compute: Compute = ONE_PROCESS
) -> Outcome:
    """Train by a recipe and write the checkpoint; an interrupted run of the same recipe goes on where it stopped.

    Args:
        recipe: validated.
        backbone: the network the recipe names.
        progress: shows how far it is.
        fresh: forget what an earlier run left in the folder.
        compute: what features are computed with.

    Raises: MatchkaError: a data set, the backbone or the fit is not what the recipe says; what was good is kept.
    """
    if recipe.dims[-1] > backbone.embedding_dim:
        raise RecipeError(
            f"The backbone {backbone.name} has {backbone.embedding_dim} components.",
            value=recipe.dims[-1],
            remedy="Lower the largest of dims.",
        )
    require_tracking()
    data = read_data(recipe.data, modality_of(backbone).copies, recipe.data.cache_dir, progress)
    prepared = prepare(recipe, backbone, data, progress, compute)
    identity = _identity(recipe, backbone, prepared)
    info = _info(recipe, backbone, record_of(recipe, data))
    fitted, notes = _fit_all(recipe, prepared, identity, info, progress, fresh=fresh)
    best = fitted[0]
    folder = CheckpointFolder(recipe.output_dir, identity)
    folder.path.mkdir(parents=True, exist_ok=True)
    write_recipe(folder.path / RECIPE_NAME, recipe)
    info = replace(info, family=best.candidate.projection.family)
    folder.keep_projection(best.module, info, PROJECTION_NAME)
    notes += [*_flat_notes(fitted), *_shuffled_notes(fitted)]
    skipped = [entry for features in (prepared.train, *prepared.validation) for entry in features.skipped]
    identified = (
        identification_report(window_embedder(best.module), prepared.validation, recipe.dims),
        identification_report(unchanged, prepared.published, recipe.dims),
    )
    write_summary(recipe, prepared, folder, fitted, notes, skipped, identified)
    return Outcome(recipe.output_dir, best.report, prepared.raw, len(skipped), tuple(fitted), tuple(notes), *identified)


def prepare(
    recipe: Recipe, backbone: Backbone, data: DataSets, progress: Progress, compute: Compute = ONE_PROCESS
) -> Prepared:
    """Compute or map the features of the data sets, of training in every view; check that nobody has two names.

    Raises: DatasetError, LookalikeError, TooManyUnreadableError, FeatureError, DiskFullError.
    """
    extract = partial(
        extract_features,
        cache_dir=recipe.data.cache_dir,
        progress=progress,
        limits=recipe.data.limits,
        hashes=data.hashes,
        compute=compute,
    )
    views = _views(recipe, progress)  # first, so that a folder that cannot be used stops the run at once
    recorded = [extract(samples, backbone) for samples in data.train]
    validation, published = (
        [
            with_trials(extract(samples, network), dataset, samples, recipe.seed)
            for dataset, samples in zip(recipe.data.validation, data.validation, strict=True)
        ]
        for network in (backbone, backbone.published)
    )
    require_no_lookalikes(recorded, validation, recipe.data.is_confirmed_lookalike)
    counted = []
    for dataset, samples, features, of_set in zip(recipe.data.train, data.train, recorded, views, strict=True):
        changed = [extract(samples, backbone, view=view) for view in of_set]
        counted += [*[features] * dataset.repeat, *changed]
    closed_form = [
        features for dataset, features in zip(recipe.data.train, recorded, strict=True) if dataset.closed_form
    ]
    raw = validate(unchanged, published, recipe.dims)
    return Prepared(join_features(counted), join_features(closed_form), validation, published, raw)


def _views(recipe: Recipe, progress: Progress) -> list[list[View]]:
    """The views of each training set; folders that several name alike are opened once."""
    changes = [recipe.augmentation_of(dataset) for dataset in recipe.data.train]
    environments = {
        changed: open_environment(changed.recorded_noise, changed.rooms, progress)
        for changed in dict.fromkeys(changes)
        if changed.views
    }
    return [
        [View(number + 1, recipe.seed, changed, environments[changed]) for number in range(changed.views)]
        for changed in changes
    ]


def _fit_all(
    recipe: Recipe, prepared: Prepared, identity: str, info: ProjectionInfo, progress: Progress, *, fresh: bool
) -> tuple[list[Fitted], list[str]]:
    """Every candidate, the best first; one that diverges is noted and the others go on, unless it is the only one."""
    fitted: list[Fitted] = []
    notes: list[str] = []
    for candidate in recipe.candidates:
        folder = CheckpointFolder(recipe.output_dir / "candidates" / candidate.name, identity)
        if fresh:
            for each in (folder, CheckpointFolder(folder.path / SHUFFLED_FOLDER, identity)):
                each.clear_state()
                forget_runs(each.path)
        named = replace(info, family=candidate.projection.family)
        try:
            found = fit_candidate(candidate, recipe, prepared, folder, named, progress)
        except DivergedError as error:
            if len(recipe.candidates) == 1:
                raise
            notes.append(f"{candidate.name} was given up: {error}")
            continue
        if recipe.shuffled_labels:
            try:
                found = replace(found, shuffled=fit_shuffled(found, recipe, prepared, folder, named, progress))
            except DivergedError as error:
                notes.append(f"{candidate.name}: the fit on shuffled labels was given up: {error}")
        fitted.append(found)
    if not fitted:
        raise DivergedError("Every candidate diverged.", value=notes[0], remedy="Lower optimisation.learning_rate.")
    return _best_first(fitted), notes


def _best_first(fitted: list[Fitted]) -> list[Fitted]:
    ordered, left = [], list(fitted)
    while left:
        ordered.append(left.pop(best_of([entry.standing for entry in left])))
    return ordered


def _flat_notes(fitted: Sequence[Fitted]) -> list[str]:
    return [
        f"{entry.candidate.name}: the loss stayed flat, so nothing was learned; its projection is that of its start."
        for entry in fitted
        if entry.flat
    ]


def _shuffled_notes(fitted: Sequence[Fitted]) -> list[str]:
    return [
        f"{entry.candidate.name} learned nothing from labels that shows: fitted on shuffled ones it is as good."
        for entry in fitted
        if entry.shuffled is not None and entry.shuffled.as_good
    ]


def _identity(recipe: Recipe, backbone: Backbone, prepared: Prepared) -> str:
    """Hash of all that training depends on: the recipe, the backbone, and the features themselves."""
    digest = hashlib.sha256(recipe.model_dump_json(exclude={"task", "output_dir", "shuffled_labels"}).encode())
    digest.update(backbone.source.sha256.encode())
    for features in (prepared.train, prepared.closed_form, *prepared.validation):
        digest.update(np.ascontiguousarray(features.pooled()).tobytes())
        digest.update("\n".join(features.subjects).encode())
    return digest.hexdigest()


def _info(recipe: Recipe, backbone: Backbone, record: dict[str, str]) -> ProjectionInfo:
    datasets = [
        {"name": dataset.corpus, "source": dataset.source, "licence": dataset.licence, "use": use}
        for use, datasets in (("projection fitted", recipe.data.train), ("validated", recipe.data.validation))
        for dataset in datasets
    ]
    for dataset in recipe.data.train:
        for use, folder in recipe.augmentation_of(dataset).folders_in_use():
            added = {"name": folder.name, "source": folder.source, "licence": folder.licence, "use": use}
            if added not in datasets:
                datasets.append(added)
    return ProjectionInfo(
        family=recipe.projection.family,
        kind="affine",
        dims=recipe.dims,
        backbone=backbone.name,
        backbone_sha256=backbone.source.sha256,
        datasets=tuple(datasets),
        record=record,
    )
