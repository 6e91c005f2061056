"""What one output of a graph is: the contract of its kinds."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, TypeAdapter


def is_absent(value: object) -> bool:
    """Whether an optional field says nothing: what older bundles lack is not written into them anew."""
    return value is None or value == {}


class FrozenModel(BaseModel):
    """A part of a manifest: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Output(FrozenModel, ABC):
    """One output of a graph: float32, `(batch, *row_shape)`. One class for each kind.

    Attributes:
        is_sole: whether a graph has one of the kind at most, because a call asks for the kind and not by name.
        evidence: fields that the bundle's report has to repeat, and what they are called, or the keys of a dictionary.
    """

    is_sole: ClassVar[bool] = True
    evidence: ClassVar[Mapping[str, str]] = MappingProxyType({})

    kind: str

    def differing(self, name: str, measured: object) -> str:
        """Where one of `evidence` is not what a report says; empty where it is.

        Raises: ValidationError: the report's value is not of the field's form.
        """
        form: Any = type(self).model_fields[name].annotation
        read = TypeAdapter(form).validate_python(measured)
        stated = getattr(self, name)
        if read == stated:
            return ""
        if not isinstance(stated, Mapping):
            return self.evidence[name]
        keys = sorted(key for key in read.keys() | stated.keys() if read.get(key) != stated.get(key))
        return f"{self.evidence[name]} {', '.join(keys)}"

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

    @property
    def needed_measurements(self) -> frozenset[str]:
        """Names of the numbers that its samples' readers have to measure, for this one to be judged."""
        return frozenset()

    def summary(self) -> dict[str, Any]:
        """What a list of models says of it: what is stated of it, without measurements."""
        return self.model_dump(mode="json")
