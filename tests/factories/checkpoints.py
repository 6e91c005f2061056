"""Checkpoints as training leaves them, around projections that were not trained."""

from dataclasses import replace
from pathlib import Path

import torch
import yaml
from rich.progress import Progress

from matchka_train.datasets.content import hash_files
from matchka_train.datasets.reader import read_datasets
from matchka_train.datasets.splits import flat
from matchka_train.projections.storage import ProjectionInfo, save_projection
from matchka_train.run.data import DataSets
from matchka_train.run.recipe import Recipe, write_recipe
from matchka_train.run.record import record_of


def write_checkpoint(
    folder: Path, recipe: dict[str, object], projection: torch.nn.Module, info: ProjectionInfo
) -> None:
    """Write projection and recipe with their record, whether or not the data sets would be trained on."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Recipe.model_validate(yaml.safe_load(yaml.safe_dump(recipe)))
    train, validation = read_datasets(found.data.train), read_datasets(found.data.validation)
    hashes = hash_files([*flat(train), *flat(validation)], Progress(disable=True))
    record = record_of(found, DataSets(found.data, train, validation, hashes))
    save_projection(folder / "projection.safetensors", projection, replace(info, record=record))
    write_recipe(folder / "recipe.yaml", found)
