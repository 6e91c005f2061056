"""An output that says how likely each of several classes is."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from matchka.bundles.outputs.condition import Condition
from matchka.bundles.outputs.output import FrozenModel, Output, is_absent


class UnknownRule(FrozenModel):
    """Where a sample is of none of the classes: its value lies below a threshold.

    Attributes:
        value: the graph's name of the value output that says how well a sample fits the classes.
        condition: bands that have thresholds of their own; absent where one threshold serves all samples.
        thresholds: one for each band, or one.
    """

    value: str = Field(min_length=1)
    condition: Condition | None = Field(default=None, exclude_if=is_absent)
    thresholds: tuple[Annotated[float, Field(allow_inf_nan=False)], ...]

    @model_validator(mode="after")
    def _has_a_threshold_for_each_band(self) -> "UnknownRule":
        if len(self.thresholds) != (self.condition.bands if self.condition else 1):
            raise ValueError("thresholds must have one entry for each band of the condition, or one without it")
        return self

    @property
    def needed_values(self) -> frozenset[str]:
        """Names of the value outputs that it looks at."""
        return frozenset([self.value, *([self.condition.value] if self.condition else [])])


class ClassOutput(Output):
    """One number for each label, higher where the row is more likely of that class.

    Attributes:
        labels: of the classes, in the graph's order.
        unknown: which samples get no label; absent where every sample gets one.
    """

    kind: Literal["class"] = "class"
    labels: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=2)
    unknown: UnknownRule | None = Field(default=None, exclude_if=is_absent)

    @model_validator(mode="after")
    def _names_each_class_once(self) -> "ClassOutput":
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must not repeat")
        return self

    @property
    def row_shape(self) -> tuple[int, ...]:
        """(labels,)."""
        return (len(self.labels),)

    @property
    def needed_values(self) -> frozenset[str]:
        """Those of the rule for unknown samples."""
        return self.unknown.needed_values if self.unknown else frozenset()
