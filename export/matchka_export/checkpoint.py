"""A checkpoint as the export reads it: what to export, and the data sets to judge it on."""

from dataclasses import dataclass
from pathlib import Path

import torch

from matchka.bundles.manifest import DatasetUse
from matchka_train.datasets.reader import read_datasets
from matchka_train.datasets.sample import Sample
from matchka_train.datasets.splits import flat, require_disjoint
from matchka_train.projections.storage import ProjectionInfo, load_projection
from matchka_train.run.checkpoint import PROJECTION_NAME, RECIPE_NAME
from matchka_train.run.recipe import DataRecipe, Recipe, read_recipe


@dataclass(frozen=True)
class Checkpoint:
    """What a training run left; numbers it may hold about itself are not read.

    Attributes:
        projection_path: the projection's file.
        projection: (n, embedding_dim) -> (n, full_dim).
        info: what the file says it is.
        recipe: how it was trained.
        validation: clips to judge it on, of held-out identities.
    """

    projection_path: Path
    projection: torch.nn.Module
    info: ProjectionInfo
    recipe: Recipe
    validation: list[list[Sample]]

    @property
    def datasets(self) -> tuple[DatasetUse, ...]:
        """The data sets, as the manifest names them."""
        return tuple(DatasetUse(**dataset) for dataset in self.info.datasets)


def read_checkpoint(folder: Path, data: Path | None) -> Checkpoint:
    """Read a checkpoint and find its data.

    Args:
        folder: the checkpoint.
        data: where the manifests of the recipe's data sets lie now; None where the recipe says.

    Raises:
        RecipeError, ProjectionError: not a checkpoint.
        DatasetError: the data are not there.
        IdentityOverlapError: identities of training and validation overlap.
    """
    projection, info = load_projection(folder / PROJECTION_NAME)
    recipe = read_recipe(folder / RECIPE_NAME)
    moved = recipe.data if data is None else _moved(recipe.data, data)
    train, validation = read_datasets(moved.train), read_datasets(moved.validation)
    require_disjoint(flat(train), flat(validation))
    return Checkpoint(folder / PROJECTION_NAME, projection, info, recipe, validation)


def _moved(recipe: DataRecipe, folder: Path) -> DataRecipe:
    """The same data sets, each found in another folder under the last part of its path."""
    parts = {
        "train": tuple(part.model_copy(update={"path": folder / part.path.name}) for part in recipe.train),
        "validation": tuple(part.model_copy(update={"path": folder / part.path.name}) for part in recipe.validation),
    }
    return recipe.model_copy(update=parts)
