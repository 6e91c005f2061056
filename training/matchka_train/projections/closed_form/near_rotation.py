"""A little whitening of the spread within identities, then a rotation with the mean kept: no offset, nearly orthogonal.

For backbones whose embeddings share a large mean that helps to tell people apart (docs/decisions/042), and for data in
which some identities have hundreds of samples and most have one.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from matchka_train.errors import DatasetError
from matchka_train.features.features import Features
from matchka_train.projections.affine import AffineProjection
from matchka_train.projections.closed_form.statistics import Matrix, domain_weights, principal_axes, symmetric_power
from matchka_train.strict_model import StrictModel

Groups = npt.NDArray[np.int64]


class NearRotationRecipe(StrictModel):
    """Chosen by cross-validation over identities; the values of the default `face` model are the defaults.

    Attributes:
        whitening: share of the within-identity scatter in the metric, 0 (an orthogonal rotation) to 1.
        identity_cap: an identity weighs as at most this many samples, so that none dominates.
        axis_weights: domain -> weight of its scatter and second moment; equal where not given.
    """

    family: Literal["near_rotation"] = "near_rotation"
    whitening: float = Field(default=0.05, ge=0, le=1)
    identity_cap: int = Field(default=1, ge=1)
    axis_weights: dict[str, float] | None = None


def fit_near_rotation(features: Features, recipe: NearRotationRecipe) -> AffineProjection:
    """Fit on training features of one or more domains; only the direction of each embedding counts.

    Raises:
        DatasetError: a domain has no identity with two samples.
        RecipeError: weights that do not name the domains.
    """
    domains = sorted(set(features.domains))
    weights = domain_weights(recipe.axis_weights, domains, "projection.axis_weights")
    pooled = unit_length(features.pooled().astype(np.float64))
    subjects, of_domain = np.asarray(features.subjects), np.asarray(features.domains)
    parts = {domain: (pooled[of_domain == domain], _groups(subjects[of_domain == domain])) for domain in domains}
    dim = pooled.shape[1]
    metric: Matrix = np.eye(dim)
    if recipe.whitening:
        within = sum(
            weights[domain] * within_scatter(units, groups, recipe.identity_cap, domain)
            for domain, (units, groups) in parts.items()
        )
        metric = symmetric_power((1.0 - recipe.whitening) * metric + recipe.whitening * within, -0.5)
    moment: Matrix = np.sum(
        [
            weights[domain] * capped_moment(unit_length(units @ metric), groups, recipe.identity_cap)
            for domain, (units, groups) in parts.items()
        ],
        axis=0,
    )
    weight = principal_axes(moment) @ metric
    return AffineProjection(weight.astype(np.float32), np.zeros(dim, np.float32))


def unit_length(rows: Matrix) -> Matrix:
    """Rows scaled to length 1: float64, (n, dim)."""
    units: Matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return units


def within_scatter(units: Matrix, groups: Groups, cap: int, domain: str) -> Matrix:
    """Scatter of samples about their identity's mean, unbiased for small identities, scaled to trace dim.

    Args:
        units: float64, (n, dim).
        groups: (n,), number of each sample's identity.
        cap: an identity weighs as at most this many samples.
        domain: for the error.

    Returns: float64, (dim, dim).

    Raises: DatasetError: no identity has two samples.
    """
    sizes = np.bincount(groups)
    if sizes.max() < 2:
        raise DatasetError(
            f"No identity of the domain {domain} has two samples.", value=len(sizes), remedy="Add samples of people."
        )
    means = np.zeros((len(sizes), units.shape[1]))
    np.add.at(means, groups, units)
    means /= sizes[:, None]
    # the samples of an identity weigh min(size, cap) together; size / (size - 1) undoes the fit of their mean
    weight = np.minimum(sizes, cap) / sizes * sizes / np.maximum(sizes - 1, 1) * (sizes > 1)
    residuals = units - means[groups]
    scatter: Matrix = (residuals * weight[groups][:, None]).T @ residuals
    scaled: Matrix = scatter * (units.shape[1] / np.trace(scatter))
    return scaled


def capped_moment(units: Matrix, groups: Groups, cap: int) -> Matrix:
    """Mean outer product about the origin, an identity weighing as at most `cap` samples: float64, (dim, dim)."""
    sizes = np.bincount(groups)
    weight = (np.minimum(sizes, cap) / sizes)[groups]
    moment: Matrix = (units * weight[:, None]).T @ units / weight.sum()
    return moment


def _groups(subjects: npt.NDArray[np.str_]) -> Groups:
    return np.unique(subjects, return_inverse=True)[1].astype(np.int64)
