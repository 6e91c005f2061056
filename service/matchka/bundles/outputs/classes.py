"""An output that says how likely each of several classes is."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from matchka.bundles.outputs.output import Output


class ClassOutput(Output):
    """One number for each label, higher where the row is more likely of that class."""

    kind: Literal["class"] = "class"
    labels: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _names_each_class_once(self) -> "ClassOutput":
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must not repeat")
        return self

    @property
    def row_shape(self) -> tuple[int, ...]:
        """(labels,)."""
        return (len(self.labels),)
