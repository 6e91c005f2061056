"""From a recipe's data set to its samples, and to the trials that are asked for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from matchka_train.datasets.generator.files import make_recordings
from matchka_train.datasets.layouts.cnceleb import read_cnceleb
from matchka_train.datasets.layouts.csv import read_manifest
from matchka_train.datasets.layouts.folder import read_folders, read_voxceleb
from matchka_train.datasets.layouts.kaldi import read_kaldi
from matchka_train.datasets.layouts.webdataset import read_webdataset
from matchka_train.datasets.recipe import DatasetRecipe
from matchka_train.datasets.sample import Sample, count_parts, ends_with
from matchka_train.datasets.splits import identity_fold, require_identities
from matchka_train.datasets.trial_list import read_trials
from matchka_train.errors import DatasetError
from matchka_train.metrics.pairs import balanced_pairs


def read_dataset(recipe: DatasetRecipe) -> list[Sample]:
    """The samples of one data set, in the order of their files.

    Raises: DatasetError: not laid out as the recipe says, fewer than two identities, or no second sample of any.
    """
    samples = [
        Sample(path, f"{recipe.corpus}/{identity}", recipe.domain, part, recipe.clip_parts)
        for path, identity in _clips(recipe)
        for part in range(count_parts(recipe.clip_parts))
    ]
    require_identities(samples)
    if recipe.folds is not None:
        samples = identity_fold(samples, recipe.folds.fold, recipe.folds.folds, recipe.folds.seed)
        require_identities(samples)
    return samples


def read_datasets(recipes: Sequence[DatasetRecipe]) -> list[list[Sample]]:
    """The samples of several data sets.

    Raises: DatasetError: one is not laid out as its recipe says, or has fewer than two identities or no second sample.
    """
    return [read_dataset(recipe) for recipe in recipes]


def read_pairs(recipe: DatasetRecipe, samples: Sequence[Sample], seed: int) -> npt.NDArray[np.int64] | None:
    """The pairs of samples to compare; None where all are.

    Args:
        recipe: of the data set.
        samples: what is compared.
        seed: of the balanced pairs.

    Returns: int64, (trials, 2), numbers of samples, or None.

    Raises: DatasetError: the trial list is malformed or names unknown clips. NoTrialsError: no pair of one kind.
    """
    if recipe.trials is not None:
        return read_trials(recipe.trials, samples)
    if recipe.balanced_pairs is not None:
        return balanced_pairs([sample.subject for sample in samples], recipe.balanced_pairs, seed)
    return None


def _clips(recipe: DatasetRecipe) -> list[tuple[Path, str]]:
    clips = _listed_clips(recipe)
    for number, (path, identity) in enumerate(clips, start=1):
        if not identity.strip() or path.is_dir():
            raise DatasetError(
                f"Sample {number} of {recipe.path} has no {'file' if path.is_dir() else 'identity'}.",
                value=f"identity {identity!r}, file {str(path)!r}",
                remedy="Complete it, or leave it out: samples without an identity would count as one person.",
            )
    return _without(clips, recipe)


def _without(clips: list[tuple[Path, str]], recipe: DatasetRecipe) -> list[tuple[Path, str]]:
    left_out = set()
    for entry in recipe.leave_out:
        named = [path for path, _ in clips if ends_with(path, entry.path)]
        if len(named) != 1:
            raise DatasetError(
                f"What {recipe.path} leaves out names {len(named) or 'no'} of its files.",
                value=entry.path,
                remedy="Give the end of one file's path.",
            )
        left_out.update(named)
    return [(path, identity) for path, identity in clips if path not in left_out]


def _listed_clips(recipe: DatasetRecipe) -> list[tuple[Path, str]]:
    if recipe.generator is not None:
        return make_recordings(recipe.path, recipe.generator)
    if recipe.layout == "csv":
        return read_manifest(recipe.path, recipe.path_column, recipe.subject_column, recipe.where)
    if recipe.layout == "webdataset":
        return read_webdataset(recipe.path, recipe.subject_column)
    readers = {"folder": read_folders, "kaldi": read_kaldi, "voxceleb": read_voxceleb, "cnceleb": read_cnceleb}
    return readers[recipe.layout](recipe.path)
