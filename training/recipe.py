"""A recipe: everything a training run depends on, in one validated, frozen value read from one YAML file."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from training.augmentation import AugmentationRecipe
from training.errors import RecipeError
from training.frozen import Frozen
from training.projections.rotation import RotationRecipe
from training.projections.whitening import WhiteningRecipe


class FoldRecipe(Frozen):
    """One of several identity-disjoint parts of a data set; identities are shuffled by the seed and dealt in turn."""

    fold: int = Field(ge=0)
    folds: int = Field(ge=2)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _exists(self) -> "FoldRecipe":
        if self.fold >= self.folds:
            raise ValueError("fold counts from 0 and must be less than folds")
        return self


class DatasetRecipe(Frozen):
    """One data set, or a part of one.

    Attributes:
        corpus: whose identities these are; data sets of one corpus share them, and parts must not overlap.
        domain: recording conditions; accuracy is reported per domain.
        layout: how the files lie.
        path: the CSV file (csv) or folder (the others), relative to where the command runs.
        path_column: csv only.
        subject_column: csv only.
        where: csv only: column -> value a row must have.
        clip_parts: cut each clip into this many equal samples of its identity.
        folds: keep one identity-disjoint part.
        source: where the data come from, for the bundle.
        licence: of the data, for the bundle.
    """

    corpus: str = Field(min_length=1)
    domain: str = Field(min_length=1)
    layout: Literal["csv"]
    path: Path
    path_column: str = "path"
    subject_column: str = "speaker"
    where: dict[str, str] = Field(default_factory=dict)
    clip_parts: int = Field(default=1, ge=1, le=16)
    folds: FoldRecipe | None = None
    source: str = "not stated"
    licence: str = "not stated"


class DataRecipe(Frozen):
    """What is trained on, what is validated on, and what a clip may be.

    Attributes:
        train: data sets the projection is fitted on.
        validation: data sets, of other identities, that it is judged on; one or more domains.
        cache_dir: folder of the feature cache.
        max_duration_s: longer clips are skipped.
        min_speech_s: clips with less audible material are skipped.
    """

    train: tuple[DatasetRecipe, ...] = Field(min_length=1)
    validation: tuple[DatasetRecipe, ...] = Field(min_length=1)
    cache_dir: Path = Path("build/features")
    max_duration_s: float = Field(default=600.0, gt=0)
    min_speech_s: float = Field(default=0.2, ge=0)


class BackboneRecipe(Frozen):
    """The frozen network.

    Attributes:
        kind: ge2e is fetched from the package index.
    """

    kind: Literal["ge2e"] = "ge2e"


ProjectionRecipe = Annotated[RotationRecipe | WhiteningRecipe, Field(discriminator="family")]


class Recipe(Frozen):
    """A whole training run.

    Attributes:
        name: of the model; also of the checkpoint's folder.
        seed: fixes every random choice.
        dims: dims trained, validated and served, rising; the last is full_dim.
        backbone: the frozen network.
        data: data sets.
        augmentation: changed copies of the training clips.
        projection: family and its values.
        output_dir: folder of the checkpoint.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    seed: int = Field(default=0, ge=0)
    dims: tuple[int, ...] = Field(min_length=1)
    backbone: BackboneRecipe = BackboneRecipe()
    data: DataRecipe
    augmentation: AugmentationRecipe = AugmentationRecipe()
    projection: ProjectionRecipe
    output_dir: Path

    @field_validator("dims")
    @classmethod
    def _rise(cls, dims: tuple[int, ...]) -> tuple[int, ...]:
        if list(dims) != sorted(set(dims)) or dims[0] < 1:
            raise ValueError("dims must be positive and rise, without repeats")
        return dims


def read_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read and validate a recipe.

    Args:
        path: the YAML file.
        overrides: `key.key=value` with YAML values; lists are indexed by number (`data.train.0.path=clips.csv`).

    Raises: RecipeError: unreadable, an unknown key, or a value out of range; names the key.

    >>> read_recipe(Path("absent.yaml"))
    Traceback (most recent call last):
    training.errors.RecipeError: The recipe absent.yaml cannot be read. ...
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(
            f"The recipe {path} cannot be read.", value=error, remedy="Check its path and YAML."
        ) from error
    for override in overrides:
        _set(content, override)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the recipe"
        raise RecipeError(
            f"The recipe {path} is not valid at {where}: {first['msg']}.",
            value=first["input"],
            remedy="See docs/training.md for every key.",
        ) from error


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write a recipe with every default filled in; read_recipe reads it back."""
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), encoding="utf-8")


def _set(content: Any, override: str) -> None:
    """Put one override into the parsed YAML; a key that no recipe has is found by the validation after it."""
    dotted, equals, text = override.partition("=")
    keys = dotted.split(".")
    if not equals or not all(keys):
        raise RecipeError("An override is written key.key=value.", value=override, remedy="For example seed=7.")
    node = content
    try:
        for key in keys[:-1]:
            node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
        if isinstance(node, list):
            node[int(keys[-1])] = yaml.safe_load(text)
        else:
            node[keys[-1]] = yaml.safe_load(text)
    except (AttributeError, IndexError, TypeError, ValueError, yaml.YAMLError) as error:
        raise RecipeError(
            "The override does not lead to a value of the recipe.", value=override, remedy="Check its keys."
        ) from error
