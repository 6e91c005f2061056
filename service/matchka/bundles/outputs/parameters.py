"""An output of settings: what a device's numbers are, their ranges, and what words stand for among them."""

import math
from itertools import pairwise
from typing import Any, Literal

from pydantic import Field, model_validator

from matchka.bundles.outputs.output import FrozenModel, Output


class Parameter(FrozenModel):
    """One number of a setting.

    Attributes:
        name: its name.
        unit: that it is given in; empty for a number without one.
        low: the least.
        high: the most.
        scale: how the way from low to high is divided evenly: by differences, or by ratios.
    """

    name: str = Field(min_length=1)
    unit: str
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    scale: Literal["linear", "log"]

    @model_validator(mode="after")
    def _is_a_range(self) -> "Parameter":
        if self.low >= self.high or (self.scale == "log" and self.low <= 0):
            raise ValueError(f"low must be below high, and above 0 on a log scale: {self.name}")
        return self

    def between(self, first: float, second: float, share: float) -> float:
        """A value on the even way from one to another, never outside the range; the ends are exact.

        >>> round(Parameter(name="f", unit="Hz", low=1, high=1000, scale="log").between(10, 1000, 0.5), 6)
        100.0
        """
        if share in (0.0, 1.0) or first == second:
            return second if share == 1.0 else first
        if self.scale == "log":
            value = math.exp((1 - share) * math.log(first) + share * math.log(second))
        else:
            value = (1 - share) * first + share * second
        # rounding alone could leave the way, and with it the range
        return min(max(value, min(first, second)), max(first, second))


class WordSettings(FrozenModel):
    """What a word stands for: settings for each of the output's strengths, made from this many people's."""

    contributors: int = Field(ge=1)
    settings: tuple[tuple[float, ...], ...]


class ParametersOutput(Output):
    """Settings found again from the first components of the graph's embedding, in their own units and ranges.

    Row d of one output is what the first dims[d] components tell, before they are rescaled: the length of an embedding
    says how strong a setting is. The last row is the setting itself.

    Attributes:
        dims: numbers of components, rising.
        parameters: the columns, in their order: those of the graph's input.
        strengths: for which words have settings: rising from 0 to 1.
        words: by the word.
    """

    kind: Literal["parameters"] = "parameters"
    dims: tuple[int, ...] = Field(min_length=1)
    parameters: tuple[Parameter, ...] = Field(min_length=1)
    strengths: tuple[float, ...] = Field(min_length=2)
    words: dict[str, WordSettings]

    @model_validator(mode="after")
    def _stays_within_its_ranges(self) -> "ParametersOutput":
        if any(one >= other for one, other in pairwise(self.strengths)) or self.strengths[0] != 0:
            raise ValueError("strengths must rise from 0, without repeats")
        if self.strengths[-1] != 1:
            raise ValueError("strengths must end with 1")
        for word, found in self.words.items():
            if len(found.settings) != len(self.strengths):
                raise ValueError(f"{word} must have one setting for each of strengths")
            for setting in found.settings:
                if len(setting) != len(self.parameters) or not all(
                    each.low <= value <= each.high for each, value in zip(self.parameters, setting, strict=True)
                ):
                    raise ValueError(f"the settings of {word} must have every parameter, within its range")
        return self

    @property
    def row_shape(self) -> tuple[int, ...]:
        """(dims, parameters)."""
        return (len(self.dims), len(self.parameters))

    def summary(self) -> dict[str, Any]:
        """All but the settings of words: of these, how many people gave each."""
        words = {word: found.contributors for word, found in self.words.items()}
        return self.model_dump(mode="json", exclude={"words"}) | {"words": words}
