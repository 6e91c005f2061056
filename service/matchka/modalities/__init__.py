"""Modalities: what happens to the bytes of a sample until they are rows of a graph's input; and the table of them."""

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, Union

from pydantic import Field

from matchka.modalities.audio.spec import AudioInputSpec
from matchka.modalities.face.spec import ImageInputSpec
from matchka.modalities.modality import InputSpec

INPUT_SPECS: Final = (AudioInputSpec, ImageInputSpec)

if TYPE_CHECKING:
    AnyInputSpec: TypeAlias = InputSpec
else:  # pydantic has to know the classes, to tell them by their kind
    AnyInputSpec = Annotated[Union[INPUT_SPECS], Field(discriminator="kind")]  # noqa: UP007 - a tuple of them
