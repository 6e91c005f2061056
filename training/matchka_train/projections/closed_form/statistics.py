"""Mean, within-identity and between-identity covariance of each domain: all that the closed-form families need."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from matchka.vectors import FloatArray
from matchka_train.errors import DatasetError, RecipeError
from matchka_train.features.features import Features

Matrix = npt.NDArray[np.float64]
BLOCK_ROWS: Final = 1 << 16  # in double precision at once: of a million embeddings all would be 2 GiB a copy
NULL_SHARE: Final = 1e-9  # of the largest eigenvalue; embeddings of two machines differ by 1e-6, whose square is 1e-12
EQUAL_SHARE: Final = 1e-3  # a change of 1e-6 in embeddings turns axes that lie further apart by less than 1e-4


@dataclass(frozen=True)
class DomainStatistics:
    """Moments of one domain's pooled backbone embeddings, every identity weighing the same.

    Attributes:
        mean: float64, (dim,), mean of the identities' means.
        within: float64, (dim, dim), covariance of samples about their identity's mean, unbiased.
        between: float64, (dim, dim), covariance of the identities' means, unbiased.
    """

    mean: Matrix
    within: Matrix
    between: Matrix


def domain_statistics(features: Features) -> dict[str, DomainStatistics]:
    """Moments of every domain, in the order of their names.

    Raises: DatasetError: a domain has fewer than two identities, or no identity with two samples.
    """
    pooled = features.pooled()
    domains = np.asarray(features.domains)
    subjects = np.asarray(features.subjects)
    found = {}
    for domain in sorted(set(features.domains)):
        here = domains == domain
        found[domain] = _moments(pooled[here], subjects[here], domain)
    return found


def domain_weights(weights: Mapping[str, float] | None, domains: list[str], key: str) -> dict[str, float]:
    """Weights that sum to 1; equal ones where none are given.

    Args:
        weights: as the recipe gives them, or None.
        domains: the domains there are.
        key: the recipe's key, for the error.

    Raises: RecipeError: the names are not those of the domains, or the weights do not sum to more than 0.
    """
    if weights is None:
        return dict.fromkeys(domains, 1.0 / len(domains))
    if set(weights) != set(domains) or min(weights.values()) < 0 or sum(weights.values()) <= 0:
        raise RecipeError(
            f"{key} must give each of the domains {', '.join(domains)} a weight >= 0, not all 0.",
            value=dict(weights),
            remedy="Name every training domain once, or leave the key out for equal weights.",
        )
    total = sum(weights.values())
    return {domain: weights[domain] / total for domain in domains}


def weighted_sum(
    statistics: Mapping[str, DomainStatistics],
    weights: Mapping[str, float],
    moment: Callable[[DomainStatistics], Matrix],
) -> Matrix:
    """The weighted sum of one moment over domains."""
    total: Matrix = np.sum([weights[domain] * moment(found) for domain, found in statistics.items()], axis=0)
    return total


def second_moment(domain: DomainStatistics, centre: Matrix, within: float) -> Matrix:
    """Second moment of one domain about a point, scaled to trace 1.

    Args:
        domain: its moments.
        centre: float64, (dim,).
        within: how much of the spread within identities counts; 0 leaves the identities' means only.

    Returns: float64, (dim, dim).
    """
    shift = domain.mean - centre
    moment: Matrix = domain.between + within * domain.within + np.outer(shift, shift)
    scaled: Matrix = moment / np.trace(moment)
    return scaled


def principal_axes(moment: Matrix) -> Matrix:
    """Orthonormal axes as rows, the one that holds most first, the same on every machine.

    Args: moment: float64, (dim, dim), symmetric.

    Returns: float64, (dim, dim).

    >>> principal_axes(np.diag([1.0, 4.0])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    return ordered_axes(*np.linalg.eigh(moment))


def ordered_axes(values: Matrix, vectors: Matrix) -> Matrix:
    """The axes of a decomposition, without what a library was free to choose in it: signs, and bases of equal values.

    Values that differ by less than a thousandth share one basis, and so do all null directions, where nothing was seen:
    rounding alone would turn their vectors into each other.

    Args:
        values: float64, (dim,), rising.
        vectors: float64, (dim, dim), orthonormal columns.

    Returns: float64, (dim, dim), rows, the largest value first.
    """
    falling, columns = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    null = falling <= NULL_SHARE * falling[0]
    apart = (falling[:-1] - falling[1:] > EQUAL_SHARE * falling[:-1]) & ~null[:-1]
    spans = np.split(columns, np.flatnonzero(apart) + 1, axis=1)
    axes: Matrix = np.concatenate([_basis(span) for span in spans])
    return axes


def symmetric_power(symmetric: Matrix, exponent: float) -> Matrix:
    """A power of a symmetric matrix, >= 0; null directions are scaled like the one with most, so not blown up."""
    values, vectors = np.linalg.eigh(symmetric)
    raised: Matrix = (vectors * np.where(values > NULL_SHARE * values[-1], values, values[-1]) ** exponent) @ vectors.T
    return raised


def _basis(span: Matrix) -> Matrix:
    """An orthonormal basis that depends on the span only: (dim, k) columns -> (k, dim) rows.

    Each row is the span's part of the component it holds most of, less what the rows before it hold; so the largest
    component of a row is positive, of nearly equal ones the first.
    """
    rows, left = [], span
    for _ in range(span.shape[1]):
        held = np.linalg.norm(left, axis=1)
        component = int(np.argmax(held >= (1.0 - EQUAL_SHARE) * held.max()))
        direction = left[component] / held[component]
        rows.append(span @ direction)
        left = left - np.outer(left @ direction, direction)
    return np.stack(rows)


def _moments(embeddings: FloatArray, subjects: npt.NDArray[np.str_], domain: str) -> DomainStatistics:
    names, numbers, sizes = np.unique(subjects, return_inverse=True, return_counts=True)
    if len(names) < 2 or sizes.max() < 2:
        raise DatasetError(
            f"The domain {domain} needs two identities, and two samples of at least one.",
            value=f"{len(names)} identities, at most {sizes.max()} samples of one",
            remedy="Add people, or cut long clips with clip_parts: 2.",
        )
    means = np.zeros((len(names), embeddings.shape[1]))
    blocks = [slice(start, start + BLOCK_ROWS) for start in range(0, len(embeddings), BLOCK_ROWS)]
    for rows in blocks:
        np.add.at(means, numbers[rows], embeddings[rows].astype(np.float64))
    means /= sizes[:, None]
    shares = np.sqrt(np.maximum(sizes - 1, 1))[:, None]
    within: Matrix = np.zeros((means.shape[1], means.shape[1]))
    for rows in blocks:
        residuals = (embeddings[rows] - means[numbers[rows]]) / shares[numbers[rows]]
        within += residuals.T @ residuals
    mean = means.mean(axis=0)
    centred = means - mean
    return DomainStatistics(
        mean=mean,
        within=within / np.count_nonzero(sizes > 1),
        between=centred.T @ centred / (len(names) - 1),
    )
