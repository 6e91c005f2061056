"""A control of every candidate: the same fit on permuted training labels shows what labels were worth."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from rich.progress import Progress

from matchka_train.evaluation.validation import compared
from matchka_train.features.features import Features
from matchka_train.metrics.bootstrap import Difference, draw_eers
from matchka_train.projections.storage import ProjectionInfo
from matchka_train.run.candidate import Fitted, Prepared, ShuffledFit, fit_candidate, window_embedder
from matchka_train.run.checkpoint import CheckpointFolder
from matchka_train.run.recipe import Recipe

FOLDER: Final = "labels-shuffled"


def shuffle_labels(features: Features, seed: int) -> Features:
    """Permute identities among the samples of each domain; every identity keeps as many samples as it had.

    Views and parts of a clip are permuted one by one: as a whole, a clip of somebody who has no other would only get
    another name.

    Args:
        features: training features.
        seed: the same seed permutes in the same way.
    """
    generator = np.random.default_rng(seed)
    subjects, domains = np.asarray(features.subjects), np.asarray(features.domains)
    for domain in sorted(set(features.domains)):
        here = np.flatnonzero(domains == domain)
        subjects[here] = generator.permutation(subjects[here])
    return replace(features, subjects=tuple(subjects.tolist()))


def fit_shuffled(
    fitted: Fitted,
    recipe: Recipe,
    prepared: Prepared,
    folder: CheckpointFolder,
    info: ProjectionInfo,
    progress: Progress,
) -> ShuffledFit:
    """Fit a candidate once more, on permuted labels, and compare the two on the validation data.

    Args:
        fitted: the candidate as it was fitted on its labels.
        recipe: of the run.
        prepared: its features.
        folder: of the candidate; the control is kept in a folder inside.
        info: as for the candidate.
        progress: shows how far it is.

    Raises: DivergedError: without labels its loss became NaN or infinite.
    """
    control = fitted.candidate.model_copy(update={"name": f"{fitted.candidate.name}, labels shuffled"})
    without = replace(
        prepared,
        train=shuffle_labels(prepared.train, recipe.seed),
        closed_form=shuffle_labels(prepared.closed_form, recipe.seed),
    )
    found = fit_candidate(
        control, recipe, without, CheckpointFolder(folder.path / FOLDER, folder.identity), info, progress
    )
    return ShuffledFit(found.report, found.standing, _differences(fitted, found, prepared.validation, recipe))


def _differences(real: Fitted, control: Fitted, data: Sequence[Features], recipe: Recipe) -> dict[str, Difference]:
    """Mean EER over dims, with and without labels: one interval for each domain, so that chance has one try."""
    pairs_of = [compared(window_embedder(fitted.module), data) for fitted in (real, control)]
    found = {}
    for domain in pairs_of[0]:
        drawn = draw_eers([pairs[domain](dim) for pairs in pairs_of for dim in recipe.dims], recipe.seed)
        halves = drawn[: len(recipe.dims)], drawn[len(recipe.dims) :]
        rate, other = (float(np.mean([one.rate for one in half])) for half in halves)
        draws, other_draws = (np.mean([one.draws for one in half], axis=0) for half in halves)
        low, high = np.quantile(draws - other_draws, [0.025, 0.975])
        found[domain] = Difference(rate, other, float(low), float(high))
    return found
