"""An output that is one number with a unit."""

from typing import ClassVar, Literal

from pydantic import Field

from matchka.bundles.outputs.output import Output


class ValueOutput(Output):
    """One number a row; a sample's is the mean over its rows. A graph may have several, told apart by their names.

    Attributes: unit: of the number, for example dB; empty for one without.
    """

    is_sole: ClassVar[bool] = False

    kind: Literal["value"] = "value"
    unit: str = Field(max_length=32)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """(1,)."""
        return (1,)
