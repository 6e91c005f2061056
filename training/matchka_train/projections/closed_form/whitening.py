"""Partial centring, mild whitening of the spread within identities, then rotation: closed form over several domains."""

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
from pydantic import Field

from matchka_train.features.features import Features
from matchka_train.projections.affine import AffineProjection
from matchka_train.projections.closed_form.statistics import (
    DomainStatistics,
    Matrix,
    domain_statistics,
    domain_weights,
    principal_axes,
    second_moment,
    symmetric_power,
    weighted_sum,
)
from matchka_train.strict_model import StrictModel

LEAST_APART: Final = 1e-5  # of domains' means; below it they differ by what two machines differ


class WhiteningRecipe(StrictModel):
    """All strengths are partial: in full, each of them gains in its own domain and loses in others.

    Attributes:
        centring: share of the domains' mean that is subtracted, 0 to 1.
        domain_attenuation: how much of the directions that tell the domains apart is removed, 0 to 1.
        whitening: exponent of the within-identity whitening; 0 is none, 1 is full (within-class covariance
            normalisation).
        shrinkage: of the within-identity covariance towards a sphere, 0 to 1.
        moment_within: share of the within-identity spread that counts in ordering the axes.
        mean_weights: domain -> weight of its mean; equal where not given.
        within_weights: domain -> weight of its within-identity covariance; equal where not given.
        axis_weights: domain -> weight of its second moment; equal where not given.
    """

    family: Literal["whitening"] = "whitening"
    centring: float = Field(default=0.8, ge=0, le=1)
    domain_attenuation: float = Field(default=0.5, ge=0, le=1)
    whitening: float = Field(default=0.35, ge=0, le=1)
    shrinkage: float = Field(default=0.4, ge=0, le=1)
    moment_within: float = Field(default=0.1, ge=0, le=1)
    mean_weights: dict[str, float] | None = None
    within_weights: dict[str, float] | None = None
    axis_weights: dict[str, float] | None = None


def fit_whitening(features: Features, recipe: WhiteningRecipe) -> AffineProjection:
    """Fit on training features of one or more domains.

    Raises:
        DatasetError: a domain has fewer than two identities, or no identity with two samples.
        RecipeError: weights that do not name the domains.

    Source: within-class covariance normalisation of Hatch et al. 2006, with an exponent and shrinkage.
    """
    statistics = domain_statistics(features)
    domains = list(statistics)
    mean_weights = domain_weights(recipe.mean_weights, domains, "projection.mean_weights")
    within_weights = domain_weights(recipe.within_weights, domains, "projection.within_weights")
    axis_weights = domain_weights(recipe.axis_weights, domains, "projection.axis_weights")
    attenuate = _attenuation(statistics, recipe.domain_attenuation)
    within = weighted_sum(statistics, within_weights, lambda domain: domain.within / np.trace(domain.within))
    shaped = (
        symmetric_power(_shrink(attenuate @ within @ attenuate, recipe.shrinkage), -recipe.whitening / 2) @ attenuate
    )
    centre = recipe.centring * weighted_sum(statistics, mean_weights, lambda domain: domain.mean)
    moment = weighted_sum(
        _mapped(statistics, shaped),
        axis_weights,
        lambda domain: second_moment(domain, shaped @ centre, recipe.moment_within),
    )
    weight = principal_axes(moment) @ shaped
    weight *= np.sqrt(len(weight) / np.sum(weight**2))  # cosines do not depend on it; calibration reads easier near 1
    return AffineProjection(weight.astype(np.float32), (-weight @ centre).astype(np.float32))


def _attenuation(statistics: Mapping[str, DomainStatistics], strength: float) -> Matrix:
    """Identity minus `strength` times the projector onto the directions that differ between domains' means."""
    means = np.stack([domain.mean for domain in statistics.values()])
    _, sizes, directions = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    spanned = directions[sizes > LEAST_APART * max(float(sizes[0]), 1.0)]
    remaining: Matrix = np.eye(means.shape[1]) - strength * spanned.T @ spanned
    return remaining


def _shrink(covariance: Matrix, share: float) -> Matrix:
    sphere = np.eye(len(covariance)) * np.trace(covariance) / len(covariance)
    shrunk: Matrix = (1.0 - share) * covariance + share * sphere
    return shrunk


def _mapped(statistics: Mapping[str, DomainStatistics], shaped: Matrix) -> dict[str, DomainStatistics]:
    """The moments of the domains after a linear map."""
    return {
        name: DomainStatistics(
            shaped @ domain.mean, shaped @ domain.within @ shaped.T, shaped @ domain.between @ shaped.T
        )
        for name, domain in statistics.items()
    }
