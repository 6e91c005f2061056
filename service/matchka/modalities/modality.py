"""The contract of a modality: bytes of a sample -> rows of a graph's input, with what was seen on the way."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from matchka.errors import MatchkaError, VariableLengthError
from matchka.modalities.graph import Graph
from matchka.runtime.stage_timer import StageTimes

InputDtype: TypeAlias = Literal["float32", "uint8"]
InputArray: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.uint8]
# Why a sample is read: what becomes a template has to be more than what is compared once, and what is one of a burst
# shows one thing and nothing beside it, however it is turned.
Purpose: TypeAlias = Literal["enrolment", "probe", "burst"]


@dataclass(frozen=True)
class GraphInput:
    """The one input of a graph.

    Attributes:
        name: of the input.
        shape: its axes behind the batch axis; None for one of any length.
        dtype: type of its numbers.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: InputDtype

    @property
    def fixed_shape(self) -> tuple[int, ...]:
        """`shape`, where every axis has one length.

        Raises: VariableLengthError: one has not.
        """
        lengths = tuple(axis for axis in self.shape if axis is not None)
        if len(lengths) < len(self.shape):
            raise VariableLengthError(
                "The graph takes rows of any length, where one length is needed.",
                value=self.name,
                remedy="Use a model for windows of one length.",
            )
        return lengths


@dataclass(frozen=True)
class AuxiliaryGraphs:
    """Graphs of a bundle beside the one that embeds, without which its samples are not read, or less closely.

    Attributes:
        kind: the only one that readers know.
        files: their names in the bundle's folder.
        required: whether every bundle needs them.
    """

    kind: str
    files: tuple[str, ...]
    required: bool


class InputSpec(BaseModel, ABC):
    """A manifest's `input`: how samples become rows, and what the graph takes. One class for each kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str

    @abstractmethod
    def graph_input(self) -> GraphInput:
        """The input of the bundle's graph."""

    @abstractmethod
    def example(self, rows: int, seed: int) -> InputArray:
        """Made rows like real ones in shape, type, range and look, (rows, ...); the same for the same seed."""

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """The values that rows depend on. Versions and cache keys are hashes of them: their form must not change."""

    @property
    def verification(self) -> str:
        """What comparing such samples is called, in words for people."""
        return f"{self.kind} verification"

    def duration_s(self, _rows: InputArray) -> float:
        """How long the sample of these rows lasts, in seconds; 0 of what has no duration."""
        return 0.0

    def auxiliary_graphs(self) -> Mapping[str, AuxiliaryGraphs]:
        """Those that a bundle may name beside its own graph, by their entry in the manifest."""
        return {}

    def measurements(self) -> frozenset[str]:
        """Names of the numbers that readers of such samples may measure: the keys of `Finding.measured`."""
        return frozenset()


SpecT = TypeVar("SpecT", bound=InputSpec)
LimitsT = TypeVar("LimitsT", bound=BaseModel)
OptionsT = TypeVar("OptionsT")
ReadOptionsT = TypeVar("ReadOptionsT", contravariant=True)


class Finding(Protocol):
    """What was seen of a sample beside its rows."""

    @property
    def listed_as(self) -> Literal["faces"] | None:
        """The list in which answers about embeddings show it; None where they do not."""
        ...

    def as_json(self) -> dict[str, Any] | None:
        """What an answer says of it; None where there is nothing to say."""
        ...

    def measured(self) -> Mapping[str, float]:
        """Numbers that error rates may depend on, by name (`InputSpec.measurements`); an unknown one is left out."""
        ...

    def is_same(self, other: Any, /) -> bool:
        """Whether a finding of the same modality, made by another version in the same file, is of the same thing."""
        ...

    def likeness(self, other: Any, /) -> float:
        """How well they fit: of several that are of the same thing, the one with the highest is meant."""
        ...


@dataclass(frozen=True)
class Observation:
    """What one embedding is made of: rows of the graph's input, (rows, ...), and what was seen, if anything."""

    rows: InputArray
    finding: Finding | None


class Reader(Protocol[ReadOptionsT]):
    """Turns one file into what the graph takes."""

    def read(self, data: bytes, options: ReadOptionsT, /) -> list[Observation]:
        """At least one observation, each of at least one row.

        Args:
            data: the whole file.
            options: of the same modality's options_for.

        Raises: MatchkaError: the file is not usable.
        """
        ...


class OpenedGraph(Graph, Protocol):
    """An auxiliary graph as `onnxruntime.InferenceSession` offers it."""

    def get_inputs(self) -> list[Any]:
        """Its inputs, each with `name`, `type` and `shape`."""
        ...

    def get_outputs(self) -> list[Any]:
        """Its outputs, likewise."""
        ...


class Graphs(Protocol):
    """The auxiliary graphs of one bundle."""

    @property
    def label(self) -> str:
        """Name and version of the bundle."""
        ...

    @property
    def folder(self) -> Path:
        """Where the bundle lies."""
        ...

    def has(self, file: str) -> bool:
        """Whether the manifest names the graph."""
        ...

    def open(self, file: str, threads: int | None = None) -> OpenedGraph:
        """Open a graph that the bundle has.

        Args:
            file: its name in the bundle's folder.
            threads: of one run; as the settings say by default.

        Raises: BundleError: the file is no graph.
        """
        ...


@dataclass(frozen=True)
class Modality(Generic[SpecT, LimitsT, OptionsT]):
    """One kind of samples.

    Attributes:
        name: as settings name it: MATCHKA_<NAME>__<LIMIT>.
        samples: what the caller sends, in words.
        things: what is seen or heard in them, in words.
        spec: its class of a manifest's `input`.
        limits: its section of the settings.
        open_reader: a reader for one bundle.
        option_names: fields of a call that choose how a sample is read.
        options_for: options for a purpose, out of the values that a caller gave by the names of `option_names`;
            InvalidFieldError refuses a value.
        media_types: of the files that are read.
        extra_media_types: of those that are read where a setting names their format.
        cost_s: seconds of one core that a file is likely to take, by its length and its header alone; any bytes may
            be asked about. What it really took is charged afterwards.
        errors: those that only its samples meet, with the stable code of each.
        nothing_found: errors that say of a file that can be read that it shows nothing to compare.
        turn_of: finding -> how far a head is turned to the person's left (positive) or right; None where samples show
            no heads.
        too_poor: (value, least) -> the error that refuses a comparison of samples none of which reaches the last band
            of a condition that readers measure; None where they measure none.
        least_parallel_rows: rows from which on one run on several cores is sooner done than on one.
    """

    name: str
    samples: str
    things: str
    spec: type[SpecT]
    limits: type[LimitsT]
    open_reader: Callable[[SpecT, LimitsT, Graphs, StageTimes], Reader[OptionsT]]
    option_names: tuple[str, ...]
    options_for: Callable[[Purpose, Mapping[str, str]], OptionsT]
    media_types: tuple[str, ...]
    cost_s: Callable[[bytes], float]
    errors: Mapping[type[MatchkaError], str]
    extra_media_types: tuple[str, ...] = ()
    nothing_found: tuple[type[MatchkaError], ...] = ()
    turn_of: Callable[[Any], float] | None = None
    too_poor: Callable[[float, float], MatchkaError] | None = None
    least_parallel_rows: int = 1

    @property
    def stated_media_types(self) -> str:
        """The media types for people: those that are always read, and those that a setting adds."""
        always, extra = ", ".join(self.media_types), ", ".join(self.extra_media_types)
        return f"{always}; where the service is set to read them, {extra}" if extra else always

    @property
    def kind(self) -> str:
        """What a manifest's `input` calls it."""
        kind: str = self.spec.model_fields["kind"].default
        return kind
