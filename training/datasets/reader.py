"""From a recipe's data set to its samples."""

from collections.abc import Sequence

from training.datasets.manifest import read_manifest
from training.datasets.sample import Sample
from training.datasets.splits import identity_fold, require_identities
from training.recipe import DatasetRecipe


def read_dataset(recipe: DatasetRecipe) -> list[Sample]:
    """The samples of one data set, in the order of their files.

    Raises: DatasetError: not laid out as the recipe says, fewer than two identities, or no second sample of any.
    """
    clips = read_manifest(recipe.path, recipe.path_column, recipe.subject_column, recipe.where)
    samples = [
        Sample(path, f"{recipe.corpus}/{identity}", recipe.domain, part, recipe.clip_parts)
        for path, identity in clips
        for part in range(recipe.clip_parts)
    ]
    require_identities(samples)
    if recipe.folds is not None:
        samples = identity_fold(samples, recipe.folds.fold, recipe.folds.folds, recipe.folds.seed)
        require_identities(samples)
    return samples


def read_datasets(recipes: Sequence[DatasetRecipe]) -> list[list[Sample]]:
    """The samples of several data sets.

    Raises: DatasetError: as read_dataset.
    """
    return [read_dataset(recipe) for recipe in recipes]
