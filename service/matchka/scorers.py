"""How alike two embeddings are: the similarity that is held against a threshold, in [-1, 1], higher = more alike."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from matchka.errors import DimensionError
from matchka.vectors import FloatArray, cosine_similarity, truncate_and_normalise

LEAST_BETWEEN: Final = 1e-9  # an estimate of a covariance may have directions below zero
SHORTLIST_FACTOR: Final = 10  # docs/decisions/027: of 30 subjects, the best by score is beyond rank 10 once in 10,000
LEAST_SHORTLIST: Final = 50
PAIRS_AT_ONCE: Final = 8_192

Values: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CountedEmbeddings:
    """Embeddings, and how many rows of a graph's output each is the mean of: windows of a clip, faces of a picture.

    Attributes:
        vectors: float32, (n, full_dim).
        row_counts: float64, (n,), each >= 1; of a reference, the sum over its templates; infinite where not known.
    """

    vectors: FloatArray
    row_counts: Values


def counted(vectors: FloatArray, row_counts: Iterable[int | None]) -> CountedEmbeddings:
    """Embeddings with their numbers of rows; one whose number is not known counts as long (docs/decisions/027).

    >>> counted(np.ones((2, 3), np.float32), [4, None]).row_counts
    array([ 4., inf])
    """
    counts = np.asarray([np.inf if count is None else count for count in row_counts], np.float64)
    return CountedEmbeddings(vectors, counts)


class Scorer(Protocol):
    """Compares embeddings of one model; symmetric in its two sides."""

    @property
    def is_cosine(self) -> bool:
        """Whether the similarity is the cosine, by which galleries rank."""
        ...

    def similarities(self, a: CountedEmbeddings, b: CountedEmbeddings, dim: int) -> FloatArray:
        """Every one of `a` with every one of `b`, on their first `dim` components.

        Returns: float32, (n, m), each in [-1, 1].

        Raises: DimensionError: the scorer has no such dim. ZeroVectorError: a truncated embedding is all zero.
        """
        ...

    def similarities_of_pairs(self, a: CountedEmbeddings, b: CountedEmbeddings, dim: int) -> FloatArray:
        """Each of `a` with the one of `b` in the same place: float32, (n,); otherwise as similarities()."""
        ...

    def shortlist(self, top_k: int) -> int:
        """How many of the most similar by cosine hold the `top_k` most similar by this scorer."""
        ...


class CosineScorer:
    """The cosine, whatever the numbers of rows."""

    is_cosine = True

    def similarities(self, a: CountedEmbeddings, b: CountedEmbeddings, dim: int) -> FloatArray:
        """See Scorer.similarities()."""
        return cosine_similarity(a.vectors, b.vectors, dim)

    def similarities_of_pairs(self, a: CountedEmbeddings, b: CountedEmbeddings, dim: int) -> FloatArray:
        """See Scorer.similarities_of_pairs()."""
        first, second = truncate_and_normalise(a.vectors, dim), truncate_and_normalise(b.vectors, dim)
        products: FloatArray = np.einsum("ij,ij->i", first, second)
        return np.clip(products, -1.0, 1.0)

    def shortlist(self, top_k: int) -> int:
        """As many."""
        return top_k


COSINE: Final = CosineScorer()


@dataclass(frozen=True)
class DimModel:
    """The two covariances at one dim, both diagonal in one basis, and where their ratio lies on the scale of cosines.

    Attributes:
        basis: float64, (dim, dim), A: A within A' = I, A between A' = diag(between).
        between: float64, (dim,), >= 0.
        slope: of the similarity in the log-likelihood ratio, > 0.
        offset: the similarity where the ratio is 0.
    """

    basis: Values
    between: Values
    slope: float = 1.0
    offset: float = 0.0


def dim_model(within: Values, between: Values, within_shrinkage: float, between_shrinkage: float) -> DimModel:
    """Shrink both covariances towards a multiple of the identity, and find the basis in which both are diagonal.

    Args:
        within: float64, (dim, dim), symmetric: of one person's embeddings about their mean.
        between: the same of people's means.
        within_shrinkage: 0 leaves the covariance, 1 leaves only its trace.
        between_shrinkage: the same.
    """
    factor = np.linalg.inv(np.linalg.cholesky(_shrunk(within, within_shrinkage)))
    raised = _above_zero(_shrunk(between, between_shrinkage))
    variances, directions = np.linalg.eigh(factor @ raised @ factor.T)
    return DimModel(directions.T @ factor, np.maximum(variances, 0.0))


@dataclass(frozen=True)
class TwoCovarianceScorer:
    """The log-likelihood ratio of "one person" against "two people" for normally distributed people and samples.

    A person's mean is drawn from N(0, between), a sample from N(mean, w within). The mean of few rows is further from
    its person's than that of many: w = (1 + row_noise / rows) / (1 + row_noise mean_inverse_rows). The ratio is mapped
    linearly onto the scale of cosines and clipped to [-1, 1].

    Attributes:
        models: by dim.
        row_noise: how much one row spreads beside what a person does; 0 ignores the numbers of rows.
        mean_inverse_rows: mean of 1 / rows over the samples that `within` was estimated on.
        least_rows: fewer count as so many. What says little is unlikely of anybody, and the less it says, the less it
            is held against a wrong claim: whoever chose a very short recording would pass more often than promised.

    Source: Brummer & De Villiers 2010, The speaker partitioning problem; docs/decisions/027.
    """

    models: Mapping[int, DimModel]
    row_noise: float
    mean_inverse_rows: float
    least_rows: int = 1
    is_cosine = False

    def similarities(self, a: CountedEmbeddings, b: CountedEmbeddings, dim: int) -> FloatArray:
        """See Scorer.similarities()."""
        return self._similarity(self.ratios(a, b, dim), dim)

    def similarities_of_pairs(self, a: CountedEmbeddings, b: CountedEmbeddings, dim: int) -> FloatArray:
        """See Scorer.similarities_of_pairs()."""
        model, parts = self._model(dim), []
        for start in range(0, len(a.vectors), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            x, y = (_rotated(side.vectors[part], model, dim) for side in (a, b))
            of_x, of_y = (model.between + self._spread(side.row_counts[part])[:, None] for side in (a, b))
            own, other, product, level = _coefficients(of_x, of_y, model.between)
            parts.append((x**2 * own + y**2 * other + x * y * product).sum(axis=1) + level)
        return self._similarity(np.concatenate(parts), dim)

    def shortlist(self, top_k: int) -> int:
        """Ten times as many, and at least 50."""
        return max(LEAST_SHORTLIST, SHORTLIST_FACTOR * top_k)

    def ratios(self, a: CountedEmbeddings, b: CountedEmbeddings, dim: int) -> Values:
        """Log-likelihood ratios (natural logarithm) of every one of `a` with every one of `b`: float64, (n, m).

        Raises: DimensionError, ZeroVectorError: as similarities().
        """
        if len(np.unique(a.row_counts)) > len(np.unique(b.row_counts)):
            return self.ratios(b, a, dim).T  # the loop is over the first one's different numbers of rows
        model = self._model(dim)
        x, y = _rotated(a.vectors, model, dim), _rotated(b.vectors, model, dim)
        spreads, places = np.unique(self._spread(b.row_counts), return_inverse=True)
        of_y = model.between + spreads[:, None]
        found = np.empty((len(x), len(y)))
        for count in np.unique(a.row_counts):
            rows = a.row_counts == count
            of_x = model.between + self._spread(np.asarray([count]))[:, None]
            own, other, product, level = _coefficients(of_x, of_y, model.between)
            found[rows] = (
                (x[rows] ** 2 @ own.T + level)[:, places]
                + (y**2 * other[places]).sum(axis=1)
                + x[rows] @ (y * product[places]).T
            )
        return found

    def _similarity(self, ratios: Values, dim: int) -> FloatArray:
        model = self._model(dim)
        return np.clip(model.slope * ratios + model.offset, -1.0, 1.0).astype(np.float32)

    def _spread(self, row_counts: Values) -> Values:
        counts = np.maximum(row_counts, self.least_rows)
        spread: Values = (1.0 + self.row_noise / counts) / (1.0 + self.row_noise * self.mean_inverse_rows)
        return spread

    def _model(self, dim: int) -> DimModel:
        if dim not in self.models:
            known = ", ".join(str(one) for one in self.models)
            raise DimensionError("The scorer was not fitted at this dim.", value=dim, remedy=f"Use one of {known}.")
        return self.models[dim]


def _rotated(vectors: FloatArray, model: DimModel, dim: int) -> Values:
    rotated: Values = truncate_and_normalise(vectors, dim).astype(np.float64) @ model.basis.T
    return rotated


def _coefficients(of_x: Values, of_y: Values, between: Values) -> tuple[Values, Values, Values, Values]:
    """What x^2, y^2 and x y are multiplied by in each direction, and what is added to their sum.

    Args:
        of_x: total variances of one side, (n, dim) or (1, dim).
        of_y: the same of the other side.
        between: (dim,).
    """
    determinant = of_x * of_y - between**2
    own = 0.5 * (1.0 / of_x - of_y / determinant)
    other = 0.5 * (1.0 / of_y - of_x / determinant)
    level = -0.5 * np.log1p(-(between**2) / (of_x * of_y)).sum(axis=1)
    return own, other, between / determinant, level


def _shrunk(covariance: Values, share: float) -> Values:
    dim = len(covariance)
    shrunk: Values = (1.0 - share) * covariance + share * np.trace(covariance) / dim * np.eye(dim)
    return shrunk


def _above_zero(covariance: Values) -> Values:
    variances, directions = np.linalg.eigh((covariance + covariance.T) / 2)
    raised: Values = (directions * np.maximum(variances, LEAST_BETWEEN)) @ directions.T
    return raised
