"""From a recipe's family to a projection: fitted in closed form, or ready to be trained."""

from typing import Annotated, assert_never

import numpy as np
import torch
from pydantic import Field

from matchka.vectors import FloatArray
from matchka_train.features.features import Features
from matchka_train.projections.affine import AffineProjection
from matchka_train.projections.closed_form.near_rotation import NearRotationRecipe, fit_near_rotation
from matchka_train.projections.closed_form.rotation import RotationRecipe, fit_rotation
from matchka_train.projections.closed_form.whitening import WhiteningRecipe, fit_whitening
from matchka_train.projections.layer_sum import LayerSumProjection, LayerSumRecipe, summed_features
from matchka_train.projections.mlp import MlpProjection, MlpRecipe
from matchka_train.projections.trainable import TrainableProjection, require_narrower
from matchka_train.projections.trained.linear import LinearProjection, LinearRecipe
from matchka_train.projections.trained.orthogonal import OrthogonalProjection, OrthogonalRecipe
from matchka_train.projections.trained.refined import RefinedProjection, RefinedRecipe

ClosedFormRecipe = RotationRecipe | WhiteningRecipe | NearRotationRecipe
TrainedRecipe = LinearRecipe | MlpRecipe | OrthogonalRecipe | RefinedRecipe | LayerSumRecipe
FamilyRecipe = Annotated[ClosedFormRecipe | TrainedRecipe, Field(discriminator="family")]


def fit_closed_form(features: Features, recipe: ClosedFormRecipe, full_dim: int) -> AffineProjection:
    """Fit a family that needs no training loop.

    Args:
        features: training features of one or more domains.
        recipe: the family.
        full_dim: components kept, at most those of the features.

    Raises: ProjectionError: full_dim is too large. DatasetError, RecipeError: as the family.
    """
    require_narrower(features.windows.shape[1], full_dim, recipe.family)
    match recipe:
        case RotationRecipe():
            fitted = fit_rotation(features, recipe)
        case WhiteningRecipe():
            fitted = fit_whitening(features, recipe)
        case NearRotationRecipe():
            fitted = fit_near_rotation(features, recipe)
        case _:
            assert_never(recipe)
    return AffineProjection(fitted.weight.numpy()[:full_dim], fitted.bias.numpy()[:full_dim])


def begin(features: Features, recipe: TrainedRecipe, full_dim: int, seed: int) -> TrainableProjection:
    """A projection at its start.

    Args:
        features: training features; families that start from a closed form fit it on them.
        recipe: the family.
        full_dim: components returned.
        seed: of random starts.

    Raises: ProjectionError, DatasetError, RecipeError: as the family.
    """
    in_dim = features.windows.shape[1]
    torch.manual_seed(seed)
    if isinstance(recipe, LinearRecipe):
        return LinearProjection(in_dim, full_dim, recipe)
    if isinstance(recipe, MlpRecipe):
        return MlpProjection(in_dim, full_dim, recipe)
    if isinstance(recipe, OrthogonalRecipe):
        return OrthogonalProjection(fit_rotation(features, RotationRecipe(centring=0.0)), full_dim)
    if isinstance(recipe, LayerSumRecipe):
        return LayerSumProjection(recipe.layers, _refined(summed_features(features, recipe.layers), recipe, full_dim))
    return _refined(features, recipe, full_dim)


def _refined(features: Features, recipe: RefinedRecipe | LayerSumRecipe, full_dim: int) -> RefinedProjection:
    start = fit_closed_form(features, recipe.start, full_dim)
    return RefinedProjection(_with_unit_lengths(start, features.pooled()), recipe.pull)


def _with_unit_lengths(projection: AffineProjection, embeddings: FloatArray) -> AffineProjection:
    """Scale a map so that its outputs are of length 1 on average; cosines stay."""
    outputs = projection(torch.from_numpy(embeddings))
    scale = np.float32(1.0 / float(torch.linalg.vector_norm(outputs, dim=1).mean()))
    return AffineProjection(projection.weight.numpy() * scale, projection.bias.numpy() * scale)
