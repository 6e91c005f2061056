"""Training on cached features beside running the frozen backbone in every epoch: same result, how much time."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress
from rich.table import Table

from matchka_train.backbones.backbone import Backbone
from matchka_train.datasets.reader import read_dataset
from matchka_train.datasets.sample import Sample
from matchka_train.datasets.splits import first_clips
from matchka_train.errors import RecipeError
from matchka_train.evaluation.validation import Report, unchanged, validate
from matchka_train.features.extraction import extract_features
from matchka_train.features.features import Features
from matchka_train.fitting.batches import ClipBatch, ClipSource, TrainingClips
from matchka_train.fitting.loop import Plan, train
from matchka_train.projections.families import ClosedFormRecipe, begin
from matchka_train.projections.mlp import MlpRecipe
from matchka_train.projections.trained.linear import LinearRecipe
from matchka_train.run.candidate import window_embedder
from matchka_train.run.recipe import Recipe


@dataclass(frozen=True)
class Timed:
    """One of the two ways.

    Attributes:
        seconds: for all epochs, with what has to be computed first.
        report: accuracy of the best epoch.
    """

    seconds: float
    report: Report


@dataclass(frozen=True)
class BenchData:
    """What both ways train and are judged on.

    Attributes:
        recipe: family, loss, optimisation, dims, seed.
        backbone: the frozen network.
        train: clips; as many identities as the bench takes.
        validation: features of other identities, computed beforehand.
    """

    recipe: Recipe
    backbone: Backbone
    train: Sequence[Sample]
    validation: list[Features]


def bench_data(recipe: Recipe, backbone: Backbone, identities: int, clips_each: int, progress: Progress) -> BenchData:
    """A small part of the recipe's first training and first validation data set.

    Args:
        recipe: as matchka_train.run.run.run; a family that starts from a closed form is replaced by linear.
        backbone: the network it names.
        identities: taken of both data sets.
        clips_each: taken of each identity.
        progress: shows how far it is.

    Raises: RecipeError: `family: auto`. Others as matchka_train.run.run.prepare.
    """
    (candidate, *others) = recipe.candidates
    if others:
        raise RecipeError("The bench trains one family.", value="auto", remedy="Override projection.family=linear.")
    # a closed form is not trained in epochs, and a start fitted to several domains has no place on one
    if not isinstance(candidate.projection, LinearRecipe | MlpRecipe):
        recipe = recipe.model_copy(update={"projection": LinearRecipe()})
    patient = recipe.optimisation.model_copy(update={"patience_epochs": recipe.optimisation.all_epochs})
    recipe = recipe.model_copy(update={"optimisation": patient})
    judged = first_clips(read_dataset(recipe.data.validation[0]), identities, clips_each)
    validation = extract_features(judged, backbone, recipe.data.cache_dir, progress, recipe.data.limits)
    trained = first_clips(read_dataset(recipe.data.train[0]), identities, clips_each)
    return BenchData(recipe, backbone, trained, [validation])


def on_cache(data: BenchData, progress: Progress) -> Timed:
    """Run the backbone once into an empty cache, then train on it."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        features = extract_features(data.train, data.backbone, Path(folder), progress, data.recipe.data.limits)
        report = _train(data, features, TrainingClips(features, pooled=_is_affine(data)))
        return Timed(time.perf_counter() - begun, report)


def running_backbone(data: BenchData, progress: Progress) -> Timed:
    """Decode every clip and run the backbone over it in every epoch, as training without a cache does."""
    begun = time.perf_counter()
    source = _BackboneEachEpoch(data, progress)
    report = _train(data, source.features, source)
    return Timed(time.perf_counter() - begun, report)


class _BackboneEachEpoch:
    """A source of batches whose features are computed anew before every epoch."""

    def __init__(self, data: BenchData, progress: Progress) -> None:
        self._data, self._progress = data, progress
        self.features = self._compute()
        self._clips = TrainingClips(self.features, pooled=_is_affine(data))
        self.identities, self.domains = self._clips.identities, self._clips.domains
        self._epochs = 0

    def __len__(self) -> int:
        return len(self._clips)

    def refresh(self) -> None:
        self._epochs += 1
        if self._epochs > 1:  # the first epoch uses what starting the projection needed
            self._clips = TrainingClips(self._compute(), pooled=_is_affine(self._data))

    def draw(self, domain: int, identities: int, clips_each: int, generator: np.random.Generator) -> ClipBatch:
        return self._clips.draw(domain, identities, clips_each, generator)

    def _compute(self) -> Features:
        with tempfile.TemporaryDirectory() as folder:
            limits = self._data.recipe.data.limits
            found = extract_features(self._data.train, self._data.backbone, Path(folder), self._progress, limits)
            return replace(found, windows=np.array(found.windows))


@dataclass(frozen=True)
class _NothingKept:
    """Both ways are timed without writing checkpoints."""

    def resume(self) -> dict[str, Any] | None:
        return None

    def epoch_done(self, state: dict[str, Any], best: torch.nn.Module, current: torch.nn.Module) -> None:
        del state, best, current


def _train(data: BenchData, features: Features, source: ClipSource) -> Report:
    (candidate,) = data.recipe.candidates
    recipe = data.recipe
    raw = validate(unchanged, data.validation, recipe.dims)

    def judge(module: torch.nn.Module) -> Report:
        return validate(window_embedder(module), data.validation, recipe.dims)

    assert not isinstance(candidate.projection, ClosedFormRecipe)  # noqa: S101 - bench_data replaced it
    projection = begin(features, candidate.projection, recipe.dims[-1], recipe.seed)
    plan = Plan(candidate.loss, recipe.optimisation, recipe.dims, recipe.seed)
    return judge(train(projection, source, judge, raw, plan, _NothingKept()).best)


def _is_affine(data: BenchData) -> bool:
    return not isinstance(data.recipe.projection, MlpRecipe)


def bench_table(cached: Timed, running: Timed, epochs: int, clips: int) -> Table:
    """Both ways side by side."""
    table = Table(title=f"{epochs} epochs on {clips} clips: on the cache, or running the backbone in every epoch")
    for column in ("way", "seconds", "EER % at full dim"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for way, timed in (("cache, filled first", cached), ("backbone in every epoch", running)):
        rates = [per_dim[max(per_dim)].eer for per_dim in timed.report.values()]
        table.add_row(way, f"{timed.seconds:.1f}", ", ".join(f"{100 * rate:.2f}" for rate in rates))
    table.add_row("ratio", f"{running.seconds / cached.seconds:.1f} x", "")
    return table
