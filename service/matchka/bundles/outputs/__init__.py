"""What a graph returns, by kind of output: the table of kinds."""

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, TypeVar, Union

from pydantic import Field

from matchka.bundles.outputs.classes import ClassOutput
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.bundles.outputs.output import Output
from matchka.bundles.outputs.parameters import ParametersOutput
from matchka.bundles.outputs.phoneme_posteriors import PhonemePosteriorsOutput
from matchka.bundles.outputs.value import ValueOutput

OutputT = TypeVar("OutputT", bound=Output)
OUTPUT_KINDS: Final[tuple[type[Output], ...]] = (
    EmbeddingOutput,
    ClassOutput,
    ValueOutput,
    ParametersOutput,
    PhonemePosteriorsOutput,
)

if TYPE_CHECKING:
    AnyOutput: TypeAlias = Output
else:  # pydantic has to know the classes, to tell them by their kind
    AnyOutput = Annotated[Union[OUTPUT_KINDS], Field(discriminator="kind")]  # noqa: UP007


def kind_of(output: type[Output]) -> str:
    """What a manifest calls a kind of output.

    >>> kind_of(ClassOutput)
    'class'
    """
    kind: str = output.model_fields["kind"].default
    return kind
