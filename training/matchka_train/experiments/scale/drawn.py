"""A projection fitted on drawn embeddings, memory-mapped as those of a cache."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress

from matchka_train.errors import FeatureError
from matchka_train.evaluation.validation import Report, unchanged, validate
from matchka_train.features.features import Features
from matchka_train.features.stored import read_index, write_rows
from matchka_train.fitting.batches import TrainingClips
from matchka_train.fitting.loop import Plan, train
from matchka_train.projections.families import ClosedFormRecipe, begin, fit_closed_form
from matchka_train.projections.mlp import MlpRecipe
from matchka_train.run.candidate import say_if_shortened, window_embedder
from matchka_train.run.recipe import Recipe

CLIPS_EACH = 100
JUDGED = 500  # clips of others that each epoch is judged on


class _NothingKept:
    """The fit is measured without checkpoints."""

    def resume(self) -> dict[str, Any] | None:
        return None

    def epoch_done(self, state: dict[str, Any], best: torch.nn.Module, current: torch.nn.Module) -> None:
        del state, best, current


def drawn_features(folder: Path, clips: int, dim: int, domains: tuple[str, ...]) -> Features:
    """Unit embeddings about a centre for each identity, one window a clip; drawn once, then mapped.

    Args:
        folder: keeps them.
        clips: how many, 100 of each identity.
        dim: components.
        domains: identities belong to them in turn.
    """
    kept = folder / f"{clips}x{dim}"
    index = read_index(kept)
    if index is None:
        names = [(f"{number:064x}", 0, 1) for number in range(clips)]
        write_rows(kept, names, (_row(number, dim) for number in range(clips)), clips, dim)
        index = read_index(kept)
    if index is None:
        raise FeatureError("The features just written cannot be read.", value=kept, remedy="Check the disk.")
    identities = [number // CLIPS_EACH for number in range(clips)]
    return Features(
        index.rows.windows,
        index.rows.window_counts,
        tuple(f"{domains[who % len(domains)]}/{who:06d}" for who in identities),
        tuple(domains[who % len(domains)] for who in identities),
        tuple(f"{number:08d}" for number in range(clips)),
        np.tile(np.array([[0.0, 1.0]], np.float32), (clips, 1)),
    )


def _row(number: int, dim: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    centre = np.random.default_rng([1, number // CLIPS_EACH]).standard_normal(dim)
    row = 1.0 + centre + 0.8 * np.random.default_rng([2, number]).standard_normal(dim)
    return (row / np.linalg.norm(row)).astype(np.float32)[None]


def fit_drawn(recipe: Recipe, features: Features, epochs: int | None, progress: Progress) -> int:
    """Fit a recipe's first family; how many epochs it took, 0 in closed form."""
    candidate = recipe.candidates[0]
    if isinstance(candidate.projection, ClosedFormRecipe):
        fit_closed_form(features, candidate.projection, recipe.dims[-1])
        return 0
    optimisation = recipe.optimisation
    if epochs is not None:
        warmup_epochs = min(optimisation.warmup_epochs, max(0, epochs - 1))
        optimisation = optimisation.model_copy(update={"epochs": epochs, "warmup_epochs": warmup_epochs})
    judged = [features.select(np.arange(len(features.subjects)) < JUDGED)]

    def judge(module: torch.nn.Module) -> Report:
        return validate(window_embedder(module), judged, recipe.dims)

    projection = begin(features, candidate.projection, recipe.dims[-1], recipe.seed)
    clips = TrainingClips(features, pooled=not isinstance(candidate.projection, MlpRecipe))
    plan = Plan(candidate.loss, optimisation, recipe.dims, recipe.seed)
    raw = validate(unchanged, judged, recipe.dims)
    if optimisation.all_epochs:  # none measures what is around them
        say_if_shortened(candidate.name, clips, optimisation, progress)
    task = progress.add_task(candidate.name, total=optimisation.all_epochs)
    trained = train(
        projection, clips, judge, raw, plan, _NothingKept(), lambda done: progress.update(task, completed=done)
    )
    return len(trained.history) - 1
