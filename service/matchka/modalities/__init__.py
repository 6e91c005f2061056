"""Modalities: what happens to the bytes of a sample until they are rows of a graph's input; and the table of them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, Union

from pydantic import BaseModel, Field, ValidationError

from matchka.errors import InvalidFieldError, SettingsError
from matchka.modalities.audio.modality import AUDIO
from matchka.modalities.face.modality import FACE
from matchka.modalities.iq.modality import IQ
from matchka.modalities.modality import InputSpec, Modality, Purpose
from matchka.modalities.tabular.modality import TABULAR
from matchka.settings import PREFIX

_ALL: Final[tuple[Modality[Any, Any, Any], ...]] = (AUDIO, FACE, IQ, TABULAR)
# by the kind of a manifest's `input`
MODALITIES: Final[Mapping[str, Modality[Any, Any, Any]]] = MappingProxyType({known.kind: known for known in _ALL})
OPTION_NAMES: Final = tuple(name for known in _ALL for name in known.option_names)

if TYPE_CHECKING:
    AnyInputSpec: TypeAlias = InputSpec
else:  # pydantic has to know the classes, to tell them by their kind
    AnyInputSpec = Annotated[Union[tuple(known.spec for known in _ALL)], Field(discriminator="kind")]  # noqa: UP007


def options_for(kind: str, model: str, purpose: Purpose, given: Mapping[str, str]) -> Any:
    """How a sample of one kind is to be read: a caller's choices, and defaults for the rest.

    Args:
        kind: that of the model's input.
        model: its name.
        purpose: what the sample is for.
        given: the options that the caller stated, by the name of the field.

    Raises: InvalidFieldError: an option of another modality, or a value that its own does not know.
    """
    modality = MODALITIES[kind]
    for name, value in given.items():
        if name not in modality.option_names:
            fitting = " or ".join(known.things for known in _ALL if name in known.option_names)
            raise InvalidFieldError(
                f"The model {model} takes {modality.samples}; {name} does not apply to it.",
                value=value,
                remedy=f"Leave {name} out, or use a model for {fitting}.",
            )
    return modality.options_for(purpose, given)


def read_limits(given: Mapping[str, Mapping[str, object]]) -> dict[str, BaseModel]:
    """The limits of every modality, by the kind of its input.

    Args: given: values of Settings.modalities: by the modality's name, then by the limit's.

    Raises: SettingsError: an unknown name, or a value out of range.
    """
    names = [f"{PREFIX}{known.name}__{limit}".upper() for known in _ALL for limit in known.limits.model_fields]
    unknown = {f"{PREFIX}{name}__{limit}".upper() for name, limits in given.items() for limit in limits} - set(names)
    if unknown:
        raise SettingsError(
            "There is no such setting.",
            value=", ".join(sorted(unknown)),
            remedy=f"Unset it, or use one of {', '.join(names)}.",
        )
    return {known.kind: _limits_of(known, given.get(known.name, {})) for known in _ALL}


def _limits_of(modality: Modality[Any, Any, Any], given: Mapping[str, object]) -> BaseModel:
    try:
        limits: BaseModel = modality.limits(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = f"{PREFIX}{modality.name}__{first['loc'][0]}".upper()
        raise SettingsError(f"{name}: {first['msg']}.", value=first["input"], remedy="Correct the variable.") from error
    return limits
