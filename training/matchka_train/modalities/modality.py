"""The contract of a modality in training: how the samples of a data set become rows of a backbone's input."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from matchka.modalities.modality import InputSpec
from matchka_train.backbones.auxiliary import ExportablePart
from matchka_train.backbones.backbone import Backbone
from matchka_train.backbones.recipe import BackboneRecipe
from matchka_train.datasets.sample import Sample
from matchka_train.modalities.augmentation import View
from matchka_train.modalities.copies import CopyFinder
from matchka_train.modalities.skipped import Skipped
from matchka_train.strict_model import StrictModel

Rows: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.uint8]


class RowReader(Protocol):
    """Decodes one file at a time."""

    def rows(self, data: bytes, sample: Sample, sha256: str, /) -> Rows | Skipped:
        """The rows of one sample, (rows, ...), at least one, or why these bytes have none.

        Args:
            data: the file's bytes.
            sample: a file or a part of one.
            sha256: of the file's bytes; fixes the random choices of a view.
        """
        ...


class NoLimits(StrictModel):
    """The limits of a modality whose samples have none."""


def no_extras(_spec: InputSpec, _downloads: Path) -> tuple[ExportablePart, ...]:
    """The extras of a modality that has none."""
    return ()


def example_rows(spec: InputSpec) -> Rows:
    """The fixed rows of a modality that has no others."""
    return spec.example(2, seed=0)


SpecT = TypeVar("SpecT", bound=InputSpec)
LimitsT = TypeVar("LimitsT", bound=StrictModel)


@dataclass(frozen=True)
class TrainingModality(Generic[SpecT, LimitsT]):
    """What training and export have to know of one kind of input: a row of matchka_train.modalities.

    Attributes:
        spec: its class of a manifest's `input`.
        limits: which samples are taken: `data.limits` of a recipe; everything in it has a default.
        backbones: recipes of its backbones.
        open_reader: a reader for a backbone with this input, with limits and a view; None takes samples as they are.
        describe: all that rows depend on beside a sample's bytes and its view, for the key of the feature cache.
        extras: parts that a bundle carries beside those its backbone names, for an input and the folder that keeps
            package files.
        fixed_rows: rows that never change; caches know a backbone by what it makes of them.
        array_suffixes: of files that hold features already, which no backbone takes.
        copies: how two files that hold the same are found; None where only the same bytes are.
    """

    spec: type[SpecT]
    limits: type[LimitsT]
    backbones: tuple[type[BackboneRecipe], ...]
    open_reader: Callable[[SpecT, Backbone, LimitsT, View | None], RowReader]
    describe: Callable[[SpecT, Backbone, LimitsT], dict[str, object]]
    extras: Callable[[SpecT, Path], tuple[ExportablePart, ...]] = no_extras
    fixed_rows: Callable[[SpecT], Rows] = example_rows
    array_suffixes: tuple[str, ...] = ()
    copies: CopyFinder | None = None

    @property
    def kind(self) -> str:
        """What a manifest's `input` calls it."""
        kind: str = self.spec.model_fields["kind"].default
        return kind


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Rows of several samples of one kind, one behind the other."""
    untyped: list[npt.NDArray[Any]] = list(parts)
    joined: Rows = np.concatenate(untyped)
    return joined
