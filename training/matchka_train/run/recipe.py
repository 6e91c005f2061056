"""A recipe: everything a training run depends on, in one validated, frozen value read from one YAML file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from matchka_train.datasets.recipe import DatasetRecipe
from matchka_train.datasets.sample import ends_with
from matchka_train.errors import RecipeError
from matchka_train.evaluation.as_norm import AsNormRecipe
from matchka_train.evaluation.scorer_fit import CosineRecipe, ScorerRecipe
from matchka_train.fitting.losses import ANGULAR, LossRecipe
from matchka_train.fitting.schedule import OptimisationRecipe
from matchka_train.modalities import AnyBackboneRecipe
from matchka_train.modalities.augmentation import AugmentationRecipe
from matchka_train.projections.families import ClosedFormRecipe, TrainedRecipe
from matchka_train.projections.layer_sum import LayerSumRecipe
from matchka_train.run.candidates import AutoRecipe, CandidateRecipe
from matchka_train.strict_model import StrictModel

RecipeT = TypeVar("RecipeT", bound=StrictModel)

# What `data` had while clips were the only samples, with the values that checkpoints of any kind then hold.
MOVED_LIMITS: Final = {"max_duration_s": 600.0, "min_speech_s": 0.2}


class TrainingSet(DatasetRecipe):
    """A data set that is trained on.

    Attributes:
        repeat: how often each clip is counted, to weigh data sets of one domain.
        augmentation: changed copies, instead of those the recipe makes of every data set.
        closed_form: whether the recordings take part in closed-form fits (their views never do).
    """

    repeat: int = Field(default=1, ge=1, le=16)
    augmentation: AugmentationRecipe | None = None
    closed_form: bool = True


class ConfirmedPair(StrictModel):
    """Two files or two identities about which somebody made sure, and how.

    Attributes:
        first: one of them; the order does not matter.
        second: the other.
        reason: what the two are, and how that is known.
    """

    first: str = Field(min_length=1)
    second: str = Field(min_length=1)
    reason: str = Field(min_length=1)


def have_files(pairs: Sequence[ConfirmedPair], one: Path, other: Path) -> bool:
    """Whether one of the pairs is of two files, named by the ends of their paths."""
    return any(
        ends_with(first, Path(pair.first)) and ends_with(second, Path(pair.second))
        for pair in pairs
        for first, second in ((one, other), (other, one))
    )


class DataRecipe(StrictModel):
    """What is trained on, what is validated on, and which samples are taken.

    Attributes:
        train: data sets the projection is fitted on.
        validation: data sets, of other identities, that it is judged on; one or more domains.
        cache_dir: folder of the feature cache.
        limits: of samples, by the names that the backbone's kind of input has; others are skipped.
        confirmed_copies: pairs of files that seem to hold the same and are all the same to be used; ends of paths.
        confirmed_lookalikes: pairs of identities (`corpus/identity`) that seem to be one person and are two.
    """

    train: tuple[TrainingSet, ...] = Field(min_length=1)
    validation: tuple[DatasetRecipe, ...] = Field(min_length=1)
    cache_dir: Path = Path("build/features")
    limits: dict[str, Any] = Field(default_factory=dict)
    confirmed_copies: tuple[ConfirmedPair, ...] = ()
    confirmed_lookalikes: tuple[ConfirmedPair, ...] = ()

    def is_confirmed_copy(self, one: Path, other: Path) -> bool:
        """Whether `confirmed_copies` has two files."""
        return have_files(self.confirmed_copies, one, other)

    def is_confirmed_lookalike(self, one: str, other: str) -> bool:
        """Whether `confirmed_lookalikes` has two identities, or both were made and are known."""
        made = {dataset.corpus for dataset in (*self.train, *self.validation) if dataset.generator is not None}
        if {identity.split("/")[0] for identity in (one, other)} <= made:
            return True
        return any({one, other} == {pair.first, pair.second} for pair in self.confirmed_lookalikes)

    @model_validator(mode="before")
    @classmethod
    def _has_limits_of_their_own(cls, content: Any) -> Any:
        """Recipes written before `limits` was a section are still read."""
        if not isinstance(content, dict) or not MOVED_LIMITS.keys() & content.keys():
            return content
        kept = {key: value for key, value in content.items() if key not in MOVED_LIMITS}
        stated = {key: content[key] for key, value in MOVED_LIMITS.items() if content.get(key, value) != value}
        limits = content.get("limits", {})
        return kept | {"limits": stated | limits if isinstance(limits, dict) else limits}


class Recipe(StrictModel):
    """A whole training run.

    Attributes:
        task: what is trained.
        name: of the model; also of the checkpoint's folder.
        seed: fixes every random choice.
        dims: dims trained, validated and served, rising; the last is full_dim.
        backbone: the frozen network.
        data: data sets.
        augmentation: changed copies of the training clips.
        projection: family and its values; `family: auto` tries several and lets validation choose.
        loss: of families that are trained.
        optimisation: of families that are trained.
        scorer: how the bundle compares embeddings; fitted at the export, on the training identities.
        as_norm: measure adaptive score normalisation too.
        shuffled_labels: fit everything once more on permuted labels, to see what labels are worth; takes as long again.
        output_dir: folder of the checkpoint.
    """

    task: Literal["embedding"] = "embedding"
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    seed: int = Field(default=0, ge=0)
    dims: tuple[int, ...] = Field(min_length=1)
    backbone: AnyBackboneRecipe
    data: DataRecipe
    augmentation: AugmentationRecipe = AugmentationRecipe()
    projection: Annotated[ClosedFormRecipe | TrainedRecipe | AutoRecipe, Field(discriminator="family")]
    loss: LossRecipe = LossRecipe()
    optimisation: OptimisationRecipe = OptimisationRecipe()
    scorer: ScorerRecipe = CosineRecipe()
    as_norm: AsNormRecipe | None = None
    shuffled_labels: bool = True
    output_dir: Path

    @field_validator("dims")
    @classmethod
    def _rise(cls, dims: tuple[int, ...]) -> tuple[int, ...]:
        if list(dims) != sorted(set(dims)) or dims[0] < 1:
            raise ValueError("dims must be positive and rise, without repeats")
        return dims

    @model_validator(mode="after")
    def _weighs_every_dim(self) -> "Recipe":
        for loss in (self.loss, *(candidate.loss for candidate in self.candidates)):
            weights = loss.dim_weights
            if weights is not None and (len(weights) != len(self.dims) or min(weights) < 0 or sum(weights) <= 0):
                raise ValueError("dim_weights needs one weight >= 0 for each of dims, not all 0")
        return self

    @model_validator(mode="after")
    def _has_a_margin_to_enlarge(self) -> "Recipe":
        trained = [candidate.loss for candidate in self.candidates if not candidate.is_closed_form]
        if self.optimisation.large_margin is not None and not all(loss.has_angular_margin for loss in trained):
            raise ValueError("optimisation.large_margin needs losses with an angular margin: " + ", ".join(ANGULAR))
        return self

    @model_validator(mode="after")
    def _learns_the_layers_kept_apart(self) -> "Recipe":
        apart = self.backbone.keeps_layers_apart
        if any(isinstance(candidate.projection, LayerSumRecipe) != apart for candidate in self.candidates):
            raise ValueError("backbone.layers: apart and projection.family: layer_sum belong together")
        return self

    def augmentation_of(self, dataset: TrainingSet) -> AugmentationRecipe:
        """How the clips of a training set are changed: its own way, or that of every data set."""
        return self.augmentation if dataset.augmentation is None else dataset.augmentation

    @property
    def candidates(self) -> tuple[CandidateRecipe, ...]:
        """What is tried: one family, or those of `family: auto`."""
        if isinstance(self.projection, AutoRecipe):
            return self.projection.candidates
        return (CandidateRecipe(name=self.projection.family, projection=self.projection, loss=self.loss),)

    @property
    def validation_chooses(self) -> bool:
        """Whether validation decides what is kept: one of several families, or an epoch."""
        loops = [candidate for candidate in self.candidates if not candidate.is_closed_form]
        return len(self.candidates) > 1 or (bool(loops) and self.optimisation.keep == "best")


def read_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read and validate a recipe.

    Args:
        path: the YAML file.
        overrides: `key.key=value` with YAML values; lists are indexed by number (`data.train.0.path=clips.csv`).

    Raises: RecipeError: unreadable, an unknown key, or a value out of range; names the key.

    >>> read_recipe(Path("absent.yaml"))
    Traceback (most recent call last):
    matchka_train.errors.RecipeError: The recipe absent.yaml cannot be read. ...
    """
    return check_recipe(path, read_content(path, overrides), Recipe)


def read_content(path: Path, overrides: tuple[str, ...] = ()) -> Any:
    """What a recipe's file holds, with overrides put in and nothing checked; as read_recipe.

    Raises: RecipeError: unreadable, or an override that leads nowhere.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(
            f"The recipe {path} cannot be read.", value=error, remedy="Check its path and YAML."
        ) from error
    for override in overrides:
        put_override(content, override)
    return content


def check_recipe(path: Path, content: Any, kind: type[RecipeT]) -> RecipeT:
    """A recipe of one kind out of its file's content.

    Args:
        path: the file, for messages.
        content: of read_content.
        kind: the recipe of a task.

    Raises: RecipeError: an unknown key, or a value out of range; names the key.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the recipe"
        raise RecipeError(
            f"The recipe {path} is not valid at {where}: {first['msg']}.",
            value=first["input"],
            remedy="See docs/training.md for every key.",
        ) from error


def write_recipe(path: Path, recipe: StrictModel) -> None:
    """Write a recipe with every default filled in; reading it gives it back."""
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), encoding="utf-8")


def put_override(content: Any, override: str) -> None:
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
