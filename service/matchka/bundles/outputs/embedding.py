"""An output that is an embedding."""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from matchka.bundles.outputs.condition import Condition, ConditionSource
from matchka.bundles.outputs.measurements import BandReport, DimReport
from matchka.bundles.outputs.output import Output, is_absent
from matchka.bundles.outputs.scoring import AnyScoring, CosineScoring

EMBEDDINGS: Final = "embeddings"  # what the graphs of this project call their embedding


class EmbeddingOutput(Output):
    """One embedding a row, not rescaled; a sample's is the mean over its rows, truncated and of unit length.

    Attributes:
        full_dim: components that the graph returns.
        dims: those that were trained and measured, rising; the last is full_dim.
        per_dim: what was measured, by dim.
        scorer: how embeddings are compared; thresholds are of its similarities.
        condition: a value that error rates depend on, and bands of it that have thresholds of their own; absent where
            one threshold serves all samples.
    """

    evidence = MappingProxyType({"per_dim": "dims", "condition": "condition"})  # the bands of per_dim are counted only

    kind: Literal["embedding"] = "embedding"
    full_dim: int = Field(gt=0)
    dims: tuple[int, ...]
    per_dim: dict[str, DimReport]
    scorer: AnyScoring = CosineScoring()
    condition: Condition | None = Field(default=None, exclude_if=is_absent)

    @model_validator(mode="after")
    def _is_consistent(self) -> "EmbeddingOutput":
        if list(self.dims) != sorted(set(self.dims)) or not self.dims or self.dims[-1] != self.full_dim:
            raise ValueError("dims must rise, without repeats, and end with full_dim")
        if set(self.per_dim) != {str(dim) for dim in self.dims}:
            raise ValueError("per_dim must have exactly one entry for each of dims")
        if not self.scorer.suits(self.dims):
            raise ValueError("scorer.per_dim must have exactly one entry for each of dims")
        bands = self.condition.bands if self.condition else 0
        if any(len(report.bands or ()) != bands for report in self.per_dim.values()):
            raise ValueError("per_dim must have bands where there is a condition, one for each of its own")
        return self

    @property
    def row_shape(self) -> tuple[int, ...]:
        """(full_dim,)."""
        return (self.full_dim,)

    @property
    def files(self) -> frozenset[str]:
        """The scorer's."""
        return self.scorer.files

    @property
    def needed_values(self) -> frozenset[str]:
        """That of the condition, where the graph returns it."""
        return self._condition_from("output")

    @property
    def needed_measurements(self) -> frozenset[str]:
        """That of the condition, where the reader measures it."""
        return self._condition_from("sample")

    def _condition_from(self, source: ConditionSource) -> frozenset[str]:
        return frozenset([self.condition.value] if self.condition and self.condition.source == source else [])

    def reports_for(self, dim: int, conditions: Iterable[float | None]) -> tuple[DimReport | BandReport, ...]:
        """What decides on a comparison at one dim: of several, the one with the highest threshold.

        The band of the lowest condition sets the rate. An unknown condition may be lower than the known one, never
        better for the rate: the dim's own figures then serve beside the known band. Where readers measure the
        condition these are of the last band, and every band serves.

        Args:
            dim: one of dims.
            conditions: of probe and reference; None where it was not kept.
        """
        report, values = self.per_dim[str(dim)], list(conditions)
        known = [value for value in values if value is not None]
        if self.condition is None or report.bands is None:
            return (report,)
        if len(known) < len(values) and self.condition.source == "sample":
            return (report, *report.bands)
        if not known:
            return (report,)
        band = report.bands[self.condition.band_of(min(known))]
        if len(known) < len(values):
            return (band, report)
        return (band,) if len(known) < 2 or self.measures(known) else (band.unmeasured,)

    def measures(self, conditions: Iterable[float | None]) -> bool:
        """Whether the bands' thresholds were measured on samples of such conditions, compared with each other.

        Where readers measure the condition, each band was measured against the last one: among samples that all lie
        below it, rates are higher. An unknown condition counts as one of the last band.

        Args: conditions: at least one.
        """
        if self.condition is None or self.condition.source != "sample":
            return True
        return any(value is None or value >= self.condition.edges[-1] for value in conditions)

    def told(self, condition: float | None) -> dict[str, float] | None:
        """What chose among the thresholds, by its name; None where nothing does, or it is not known of a sample."""
        return None if self.condition is None or condition is None else {self.condition.value: condition}

    def summary(self) -> dict[str, Any]:
        """Its kind, dims and scorer."""
        return self.model_dump(mode="json", exclude={"per_dim"})
