"""How training reads each kind of sample, and which backbones take it: the table of modalities."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, Union

from pydantic import Field, ValidationError

from matchka_train.backbones.backbone import Backbone
from matchka_train.backbones.onnx_file import OnnxRecipe
from matchka_train.backbones.recipe import BackboneRecipe
from matchka_train.errors import FeatureError, RecipeError
from matchka_train.modalities.audio import AUDIO
from matchka_train.modalities.augmentation import View
from matchka_train.modalities.face import FACE
from matchka_train.modalities.iq import IQ
from matchka_train.modalities.modality import RowReader, TrainingModality
from matchka_train.modalities.tabular import TABULAR
from matchka_train.strict_model import StrictModel

_ALL: Final[tuple[TrainingModality[Any, Any], ...]] = (AUDIO, FACE, IQ, TABULAR)
# by the kind of a manifest's `input`
TRAINING_MODALITIES: Final[Mapping[str, TrainingModality[Any, Any]]] = MappingProxyType(
    {known.kind: known for known in _ALL}
)

if TYPE_CHECKING:
    AnyBackboneRecipe: TypeAlias = BackboneRecipe
else:  # pydantic has to know the classes, to tell them by their kind
    _RECIPES = (OnnxRecipe, *(recipe for known in _ALL for recipe in known.backbones))
    AnyBackboneRecipe = Annotated[Union[_RECIPES], Field(discriminator="kind")]  # noqa: UP007


def modality_of(backbone: Backbone) -> TrainingModality[Any, Any]:
    """The row of a backbone's kind of input.

    Raises: FeatureError: no row is of this kind.
    """
    kind = backbone.input.kind
    if kind not in TRAINING_MODALITIES:
        raise FeatureError(
            f"Training cannot read samples for the backbone {backbone.name}.",
            value=kind,
            remedy=f"The kinds of input that it knows are {', '.join(TRAINING_MODALITIES)}.",
        )
    return TRAINING_MODALITIES[kind]


def open_reader(backbone: Backbone, limits: Mapping[str, object], view: View | None) -> RowReader:
    """The reader for a backbone's kind of input.

    Args:
        backbone: says what it takes.
        limits: which samples are taken: `data.limits` of a recipe.
        view: how each sample is changed first; None takes it as it is.

    Raises:
        FeatureError: the kind has no views, or the backbone lacks a part that reading needs.
        RecipeError: as limits_of.
        DownloadError, ChecksumError: a part that reading needs cannot be opened.
    """
    modality = modality_of(backbone)
    return modality.open_reader(backbone.input, backbone, limits_of(modality, limits), view)


def describe_reader(backbone: Backbone, limits: Mapping[str, object]) -> dict[str, object]:
    """All that a sample's rows depend on beside its bytes and its view, for the key of the feature cache.

    Raises: FeatureError, RecipeError: as open_reader.
    """
    modality = modality_of(backbone)
    return modality.describe(backbone.input, backbone, limits_of(modality, limits))


def limits_of(modality: TrainingModality[Any, Any], given: Mapping[str, object]) -> StrictModel:
    """The limits that a recipe gives, with defaults for the rest.

    Raises: RecipeError: an unknown key, or a value out of range; names the key.
    """
    try:
        limits: StrictModel = modality.limits.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        known = ", ".join(modality.limits.model_fields) or "none"
        raise RecipeError(
            f"The recipe is not valid at data.limits.{first['loc'][0]}: {first['msg']}.",
            value=first["input"],
            remedy=f"Limits of {modality.kind} are: {known}.",
        ) from error
    return limits
