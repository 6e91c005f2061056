"""What a graph for named numbers takes."""

from typing import Any, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from matchka.modalities.modality import GraphInput, InputSpec
from matchka.vectors import FloatArray

MOST_FIELDS: Final = 256
LARGEST: Final = 1e38  # so that a range's width is a float32 as well
LEAST_OF_LOG: Final = float(np.finfo(np.float32).tiny)


class TabularField(BaseModel):
    """One number of a sample.

    Attributes:
        name: its name in the sample.
        unit: that it is given in; empty for a number without one.
        low: the least that is taken, in that unit.
        high: the most.
        scale: how the range is divided evenly: by differences, or by ratios.
        source: where the range comes from, in words for people; rows do not depend on it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    unit: str = Field(max_length=32)
    low: float = Field(ge=-LARGEST, le=LARGEST)
    high: float = Field(ge=-LARGEST, le=LARGEST)
    scale: Literal["linear", "log"] = "linear"
    source: str | None = Field(default=None, max_length=200, exclude_if=lambda value: value is None)

    @model_validator(mode="after")
    def _is_a_range(self) -> "TabularField":
        if np.float32(self.low) >= np.float32(self.high):
            raise ValueError(f"low must be below high, as float32 too: {self.name}")
        if self.scale == "log" and self.low < LEAST_OF_LOG:
            raise ValueError(f"low of a log scale must be at least {LEAST_OF_LOG}: {self.name}")
        return self

    @property
    def range(self) -> str:
        """From low to high, with the unit."""
        return f"{self.low!r} to {self.high!r} {self.unit}".rstrip()

    def at(self, shares: FloatArray) -> FloatArray:
        """Values at shares of the range.

        >>> TabularField(name="f", unit="Hz", low=1, high=100, scale="log").at(np.array([0.0, 0.5, 1.0]))
        array([  1.,  10., 100.])
        """
        values: FloatArray = (
            self.low * (self.high / self.low) ** shares
            if self.scale == "log"
            else self.low * (1 - shares) + self.high * shares
        )
        return values


class TabularInputSpec(InputSpec):
    """What a bundle's graph takes: one number for each field, in its unit; the graph itself scales them.

    Attributes: fields: the graph's columns, in their order.
    """

    kind: Literal["tabular"] = "tabular"
    fields: tuple[TabularField, ...] = Field(min_length=1, max_length=MOST_FIELDS)

    @model_validator(mode="after")
    def _has_names_of_its_own_for_each(self) -> "TabularInputSpec":
        names = [field.name for field in self.fields]
        if len(set(names)) < len(names):
            raise ValueError("every field needs a name of its own")
        return self

    def graph_input(self) -> GraphInput:
        """Values: float32, (batch, fields)."""
        return GraphInput("values", (len(self.fields),), "float32")

    def example(self, rows: int, seed: int) -> FloatArray:
        """Values drawn evenly from each range."""
        shares = np.random.default_rng(seed).random((rows, len(self.fields)))
        columns = [field.at(column) for field, column in zip(self.fields, shares.T, strict=True)]
        return np.stack(columns, axis=1).astype(np.float32)

    def content(self) -> dict[str, Any]:
        """Its fields, in their order, without where their ranges come from."""
        return self.model_dump(exclude={"kind": True, "fields": {"__all__": {"source"}}})
