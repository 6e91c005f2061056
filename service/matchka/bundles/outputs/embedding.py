"""An output that is an embedding."""

from typing import Any, Final, Literal

from pydantic import Field, model_validator

from matchka.bundles.outputs.measurements import DimReport
from matchka.bundles.outputs.output import Output
from matchka.bundles.outputs.scoring import AnyScoring, CosineScoring

EMBEDDINGS: Final = "embeddings"  # what the graphs of this project call their embedding


class EmbeddingOutput(Output):
    """One embedding a row, not rescaled; a sample's is the mean over its rows, truncated and of unit length.

    Attributes:
        full_dim: components that the graph returns.
        dims: those that were trained and measured, rising; the last is full_dim.
        per_dim: what was measured, by dim.
        scorer: how embeddings are compared; thresholds are of its similarities.
    """

    kind: Literal["embedding"] = "embedding"
    full_dim: int = Field(gt=0)
    dims: tuple[int, ...]
    per_dim: dict[str, DimReport]
    scorer: AnyScoring = CosineScoring()

    @model_validator(mode="after")
    def _is_consistent(self) -> "EmbeddingOutput":
        if list(self.dims) != sorted(set(self.dims)) or not self.dims or self.dims[-1] != self.full_dim:
            raise ValueError("dims must rise, without repeats, and end with full_dim")
        if set(self.per_dim) != {str(dim) for dim in self.dims}:
            raise ValueError("per_dim must have exactly one entry for each of dims")
        if not self.scorer.suits(self.dims):
            raise ValueError("scorer.per_dim must have exactly one entry for each of dims")
        return self

    @property
    def row_shape(self) -> tuple[int, ...]:
        """(full_dim,)."""
        return (self.full_dim,)

    @property
    def files(self) -> frozenset[str]:
        """The scorer's."""
        return self.scorer.files

    def summary(self) -> dict[str, Any]:
        """Its kind, dims and scorer."""
        return self.model_dump(mode="json", exclude={"per_dim"})
