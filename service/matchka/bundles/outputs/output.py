"""What one output of a graph is: the contract of its kinds."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


def is_absent(value: object) -> bool:
    """Whether an optional field says nothing: what older bundles lack is not written into them anew."""
    return value is None or value == {}


class FrozenModel(BaseModel):
    """A part of a manifest: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Output(FrozenModel, ABC):
    """One output of a graph: float32, (batch, *row_shape). One class for each kind.

    Attributes: is_sole: whether a graph has one of the kind at most, because a call asks for the kind and not by name.
    """

    is_sole: ClassVar[bool] = True

    kind: str

    @property
    @abstractmethod
    def row_shape(self) -> tuple[int | None, ...]:
        """Its axes behind the batch axis; None for one whose length depends on the input's."""

    @property
    def files(self) -> frozenset[str]:
        """Files of the bundle that it needs beside the graph."""
        return frozenset()

    @property
    def needed_values(self) -> frozenset[str]:
        """Names of the value outputs without which this one cannot be judged."""
        return frozenset()

    def summary(self) -> dict[str, Any]:
        """What a list of models says of it: what is stated of it, without measurements."""
        return self.model_dump(mode="json")
