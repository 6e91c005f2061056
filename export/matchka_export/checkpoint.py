"""A checkpoint as the export reads it: what to export, and the data sets to judge it on."""

from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import Progress

from matchka.bundles.manifest import DatasetUse
from matchka_train.backbones.backbone import Backbone
from matchka_train.datasets.recipe import DatasetRecipe
from matchka_train.datasets.sample import Sample
from matchka_train.modalities import modality_of
from matchka_train.projections.storage import ProjectionInfo, load_projection, require_backbone
from matchka_train.run.checkpoint import PROJECTION_NAME, RECIPE_NAME
from matchka_train.run.data import read_data
from matchka_train.run.recipe import DataRecipe, Recipe, read_recipe
from matchka_train.run.record import record_of, require_same_record


@dataclass(frozen=True)
class Checkpoint:
    """What a training run left; numbers it may hold about itself are not read.

    Attributes:
        projection_path: the projection's file.
        projection: (n, embedding_dim) -> (n, full_dim).
        info: what the file says it is.
        recipe: how it was trained.
        backbone: the network that the recipe names, on which it was fitted.
        train: clips it was trained on, as they are; a scorer is fitted on them.
        validation: clips to judge it on, of held-out identities.
        validation_sets: where each of these comes from, and which of its pairs are compared.
    """

    projection_path: Path
    projection: torch.nn.Module
    info: ProjectionInfo
    recipe: Recipe
    backbone: Backbone
    train: list[list[Sample]]
    validation: list[list[Sample]]
    validation_sets: tuple[DatasetRecipe, ...]

    @property
    def datasets(self) -> tuple[DatasetUse, ...]:
        """The data sets, as the manifest names them."""
        return tuple(DatasetUse(**dataset) for dataset in self.info.datasets)


def read_checkpoint(folder: Path, data: Path | None, progress: Progress) -> Checkpoint:
    """Read a checkpoint and find its data; nothing that a cache may hold is used.

    Args:
        folder: the checkpoint.
        data: where the manifests of the recipe's data sets lie now; None where the recipe says.
        progress: shows how far it is.

    Raises:
        RecipeError, ProjectionError: not a checkpoint.
        CheckpointError: the projection was fitted on another backbone, or by another recipe or on other data.
        DatasetError: the data are not there.
        IdentityOverlapError, DuplicateSampleError: the data count a recording, or a person, twice.
    """
    projection, info = load_projection(folder / PROJECTION_NAME)
    recipe = read_recipe(folder / RECIPE_NAME)
    moved = recipe.data if data is None else _moved(recipe.data, data)
    backbone = recipe.backbone.open()
    require_backbone(info, backbone)
    found = read_data(moved, modality_of(backbone).copies, None, progress)
    require_same_record(info.record, record_of(recipe, found))
    path, sets = folder / PROJECTION_NAME, moved.validation
    return Checkpoint(path, projection, info, recipe, backbone, found.train, found.validation, sets)


def _moved(recipe: DataRecipe, folder: Path) -> DataRecipe:
    """The same data sets and lists of trials, each found in another folder under the last part of its path."""
    parts = {
        name: tuple(part.model_copy(update=_in_folder(part, folder)) for part in datasets)
        for name, datasets in (("train", recipe.train), ("validation", recipe.validation))
    }
    return recipe.model_copy(update=parts)


def _in_folder(part: DatasetRecipe, folder: Path) -> dict[str, Path]:
    listed = {} if part.trials is None else {"trials": folder / part.trials.name}
    return {"path": folder / part.path.name, **listed}
