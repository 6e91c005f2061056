"""Orthogonal rotation onto the joint principal axes of several domains: closed form, lossless at full dim."""

from typing import Literal

import numpy as np
from pydantic import Field

from matchka_train.features.features import Features
from matchka_train.projections.affine import AffineProjection
from matchka_train.projections.closed_form.statistics import (
    domain_statistics,
    domain_weights,
    principal_axes,
    second_moment,
    weighted_sum,
)
from matchka_train.strict_model import StrictModel


class RotationRecipe(StrictModel):
    """A share of the mean is subtracted, then the space is rotated so that the first components hold most.

    With centring 0 the map is orthogonal: at full dim every cosine stays as the backbone gave it.

    Attributes:
        centring: share of the domains' mean that is subtracted, 0 to 1.
        mean_weights: domain -> weight of its mean; equal where not given.
        axis_weights: domain -> weight of its second moment; equal where not given.
    """

    family: Literal["rotation"] = "rotation"
    centring: float = Field(default=0.5, ge=0, le=1)
    mean_weights: dict[str, float] | None = None
    axis_weights: dict[str, float] | None = None


def fit_rotation(features: Features, recipe: RotationRecipe) -> AffineProjection:
    """Fit on training features of one or more domains.

    Raises:
        DatasetError: a domain has fewer than two identities, or no identity with two samples.
        RecipeError: weights that do not name the domains.
    """
    statistics = domain_statistics(features)
    mean_weights = domain_weights(recipe.mean_weights, list(statistics), "projection.mean_weights")
    axis_weights = domain_weights(recipe.axis_weights, list(statistics), "projection.axis_weights")
    centre = recipe.centring * weighted_sum(statistics, mean_weights, lambda domain: domain.mean)
    axes = principal_axes(weighted_sum(statistics, axis_weights, lambda domain: second_moment(domain, centre, 1.0)))
    return AffineProjection(axes.astype(np.float32), (-axes @ centre).astype(np.float32))
