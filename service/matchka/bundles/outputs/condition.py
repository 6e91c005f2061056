"""Bands of a value that says how good a sample is, where what was measured depends on it."""

from bisect import bisect_right
from itertools import pairwise
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field, model_validator

from matchka.bundles.outputs.output import FrozenModel

ConditionSource: TypeAlias = Literal["output", "sample"]
BY_DEFAULT: Final[ConditionSource] = "output"  # not written: manifests had no other


class Condition(FrozenModel):
    """The bands of a value, from the worst to the best; the first and the last have no outer edge.

    Attributes:
        value: its name: that of one of the graph's value outputs, or of a number that is measured on the sample itself
            while it is read (`Finding.measured`).
        edges: between the bands, rising, in the value's unit; a value at an edge is of the band above.
        source: which of the two it is.
    """

    value: str = Field(min_length=1)
    edges: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = Field(min_length=1)
    source: ConditionSource = Field(default=BY_DEFAULT, exclude_if=lambda source: source == BY_DEFAULT)

    @model_validator(mode="after")
    def _rises(self) -> "Condition":
        if any(lower >= upper for lower, upper in pairwise(self.edges)):
            raise ValueError("edges must rise, without repeats")
        return self

    @property
    def bands(self) -> int:
        """How many there are."""
        return len(self.edges) + 1

    def band_of(self, value: float) -> int:
        """The band that a value lies in, from 0.

        >>> condition = Condition(value="snr_db", edges=(-4, 10))
        >>> [condition.band_of(value) for value in (-20, -4, 9.9, 10)]
        [0, 1, 1, 2]
        """
        return bisect_right(self.edges, value)
