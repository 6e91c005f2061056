"""Checkpoints as training leaves them, around projections that were not trained, or after somebody bent them."""

from dataclasses import replace
from pathlib import Path

import torch
import yaml
from rich.progress import Progress

from matchka_train.datasets.content import hash_files
from matchka_train.datasets.reader import read_datasets
from matchka_train.datasets.splits import flat
from matchka_train.projections.storage import ProjectionInfo, load_projection, save_projection
from matchka_train.run.data import DataSets
from matchka_train.run.recipe import Recipe, read_recipe, write_recipe
from matchka_train.run.record import record_of


def write_checkpoint(
    folder: Path, recipe: dict[str, object], projection: torch.nn.Module, info: ProjectionInfo
) -> None:
    """Write projection and recipe with their record, whether or not the data sets would be trained on."""
    folder.mkdir(parents=True, exist_ok=True)
    write_recipe(folder / "recipe.yaml", Recipe.model_validate(yaml.safe_load(yaml.safe_dump(recipe))))
    save_projection(folder / "projection.safetensors", projection, info)
    record_again(folder)


def record_again(folder: Path) -> None:
    """Write the record of the recipe and the data as they are now: what a forger would do after changing them."""
    recipe = read_recipe(folder / "recipe.yaml")
    train, validation = read_datasets(recipe.data.train), read_datasets(recipe.data.validation)
    hashes = hash_files([*flat(train), *flat(validation)], Progress(disable=True))
    record = record_of(recipe, DataSets(recipe.data, train, validation, hashes))
    projection, info = load_projection(folder / "projection.safetensors")
    save_projection(folder / "projection.safetensors", projection, replace(info, record=record))
