"""How a bundle says that its embeddings are compared."""

from collections.abc import Collection
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from matchka.bundles.outputs.output import FrozenModel


class Scoring(FrozenModel):
    """How embeddings are compared. One class for each kind."""

    kind: str

    @property
    def files(self) -> frozenset[str]:
        """Files of the bundle that it needs."""
        return frozenset()

    def suits(self, dims: Collection[int]) -> bool:
        """Whether it says all that is needed at exactly these dims."""
        return bool(dims)


class CosineScoring(Scoring):
    """Embeddings are compared by their cosine."""

    kind: Literal["cosine"] = "cosine"


class RatioScale(FrozenModel):
    """At one dim, what the covariances are divided by, and the similarity: slope * log-likelihood ratio + offset.

    Attributes: scale: mean squared length of the first components of unit embeddings.
    """

    scale: float = Field(gt=0, le=1)
    slope: float = Field(gt=0, allow_inf_nan=False)
    offset: float = Field(allow_inf_nan=False)


class TwoCovarianceScoring(Scoring):
    """Embeddings are compared by the log-likelihood ratio of two covariances: see matchka.scorers.TwoCovarianceScorer.

    Attributes:
        file: of the bundle, holding `within` and `between`, float32, (full_dim, full_dim).
        within_shrinkage, between_shrinkage: towards a multiple of the identity.
        row_noise: how much one row (a window of a clip) spreads beside what a person does.
        mean_inverse_rows: mean of 1 / rows of the samples it was fitted on.
        least_rows: fewer count as so many.
        per_dim: by dim.
    """

    kind: Literal["two_covariance"] = "two_covariance"
    file: str = Field(min_length=1)
    within_shrinkage: float = Field(ge=0, le=1)
    between_shrinkage: float = Field(ge=0, le=1)
    row_noise: float = Field(ge=0, allow_inf_nan=False)
    mean_inverse_rows: float = Field(ge=0, le=1)
    least_rows: int = Field(ge=1)
    per_dim: dict[str, RatioScale]

    @property
    def files(self) -> frozenset[str]:
        """That of the covariances."""
        return frozenset([self.file])

    def suits(self, dims: Collection[int]) -> bool:
        """Whether there is an entry for each of the dims, and no other."""
        return set(self.per_dim) == {str(dim) for dim in dims}


AnyScoring: TypeAlias = Annotated[CosineScoring | TwoCovarianceScoring, Field(discriminator="kind")]
