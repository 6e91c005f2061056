"""What each family promises, against independent algebra."""

import numpy as np
import pytest
import torch

from matchka_train.errors import DatasetError, ProjectionError, RecipeError
from matchka_train.features.features import join_features
from matchka_train.metrics.pairs import all_pairs
from matchka_train.projections.affine import AffineProjection
from matchka_train.projections.closed_form.rotation import RotationRecipe, fit_rotation
from matchka_train.projections.closed_form.whitening import WhiteningRecipe, fit_whitening
from matchka_train.projections.families import begin, fit_closed_form
from matchka_train.projections.mlp import MlpRecipe
from matchka_train.projections.trained.linear import LinearProjection, LinearRecipe
from matchka_train.projections.trained.orthogonal import OrthogonalRecipe
from matchka_train.projections.trained.refined import RefinedRecipe
from tests.factories.features import make_features

DIM = 12


@pytest.fixture
def features():
    return join_features(
        [
            make_features(identities=20, clips=5, dim=DIM, domain="a", seed=1),
            make_features(identities=15, clips=3, dim=DIM, domain="b", seed=2, spread=0.9),
        ]
    )


def slow_moments(features, domain):
    """Mean of identities' means, within and between covariance, by loops."""
    pooled = features.pooled().astype(np.float64)
    names = sorted({s for s, d in zip(features.subjects, features.domains, strict=True) if d == domain})
    rows = {name: [pooled[i] for i, s in enumerate(features.subjects) if s == name] for name in names}
    means = {name: sum(rows[name]) / len(rows[name]) for name in names}
    centre = sum(means.values()) / len(names)
    within = sum(
        sum(np.outer(row - means[name], row - means[name]) for row in rows[name]) / (len(rows[name]) - 1)
        for name in names
    ) / len(names)
    between = sum(np.outer(means[name] - centre, means[name] - centre) for name in names) / (len(names) - 1)
    return centre, within, between


def cosines(embeddings):
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return unit @ unit.T


def test_rotation_without_centring_is_orthogonal_and_lossless_at_full_dim(features):
    fitted = fit_rotation(features, RotationRecipe(centring=0))
    weight = fitted.weight.numpy().astype(np.float64)
    assert np.allclose(weight @ weight.T, np.eye(DIM), atol=1e-6)
    assert np.all(fitted.bias.numpy() == 0)
    pooled = features.pooled()
    assert np.allclose(cosines(fitted(torch.tensor(pooled)).numpy()), cosines(pooled), atol=1e-5)


def test_rotation_orders_axes_by_the_joint_moment_about_the_centre(features):
    fitted = fit_rotation(features, RotationRecipe(centring=0.5, axis_weights={"a": 3, "b": 1}))
    moments = {domain: slow_moments(features, domain) for domain in "ab"}
    centre = 0.5 * (moments["a"][0] + moments["b"][0]) / 2
    joint = np.zeros((DIM, DIM))
    for domain, weight in (("a", 0.75), ("b", 0.25)):
        mean, within, between = moments[domain]
        moment = between + within + np.outer(mean - centre, mean - centre)
        joint += weight * moment / np.trace(moment)
    rows = fitted.weight.numpy().astype(np.float64)
    powers = [row @ joint @ row for row in rows]
    assert powers == sorted(powers, reverse=True)
    assert np.allclose(powers, np.sort(np.linalg.eigvalsh(joint))[::-1], atol=1e-5)
    assert np.allclose(fitted.bias.numpy(), -rows @ centre, atol=1e-5)


def test_whitening_equals_its_definition_up_to_scale_and_signs(features):
    recipe = WhiteningRecipe(within_weights={"a": 0.6, "b": 0.4}, axis_weights={"a": 0.55, "b": 0.45})
    fitted = fit_whitening(features, recipe)
    (mean_a, within_a, between_a), (mean_b, within_b, between_b) = (slow_moments(features, domain) for domain in "ab")
    # an independent path: one direction between two domains, and the matrix power through scipy-free Newton steps
    direction = (mean_a - mean_b) / np.linalg.norm(mean_a - mean_b)
    attenuate = np.eye(DIM) - 0.5 * np.outer(direction, direction)
    within = 0.6 * within_a / np.trace(within_a) + 0.4 * within_b / np.trace(within_b)
    within = attenuate @ within @ attenuate
    within = 0.6 * within + 0.4 * np.trace(within) / DIM * np.eye(DIM)
    left, values, right = np.linalg.svd(within)
    shaped = (left * values**-0.175) @ right @ attenuate
    centre = 0.8 * (mean_a + mean_b) / 2
    moment = np.zeros((DIM, DIM))
    for weight, mean, inside, between in ((0.55, mean_a, within_a, between_a), (0.45, mean_b, within_b, between_b)):
        shift = shaped @ (mean - centre)
        part = shaped @ (between + 0.1 * inside) @ shaped.T + np.outer(shift, shift)
        moment += weight * part / np.trace(part)
    axes = np.linalg.svd(moment)[0].T
    expected = axes @ shaped
    expected *= np.sqrt(DIM / np.sum(expected**2))
    found = fitted.weight.numpy().astype(np.float64)
    signs = np.sign(np.sum(found * expected, axis=1))[:, None]
    assert np.allclose(found, signs * expected, atol=1e-3)
    assert np.allclose(fitted.bias.numpy(), -found @ centre, atol=1e-3)


def test_whitening_lowers_the_spread_within_identities_against_that_between(features):
    def ratio(projection):
        moved = projection(torch.tensor(features.pooled())).numpy().astype(np.float64)
        numbers = np.unique(features.subjects, return_inverse=True)[1]
        means = np.stack([moved[numbers == n].mean(axis=0) for n in range(numbers.max() + 1)])
        return np.mean((moved - means[numbers]) ** 2) / means.var(axis=0).mean()

    untouched = AffineProjection(np.eye(DIM, dtype=np.float32), np.zeros(DIM, np.float32))
    assert ratio(fit_whitening(features, WhiteningRecipe(whitening=1, shrinkage=0.1))) < ratio(untouched)


def test_b2_shaped_head_counts_its_parameters():
    head = LinearProjection(1024, 256, LinearRecipe())
    assert torch.nn.utils.parameters_to_vector(head.parameters()).numel() == 264_448


def test_linear_when_exported_equals_itself_in_evaluation(features):
    projection = begin(features, LinearRecipe(), 8, seed=0)
    rows = torch.tensor(features.pooled())
    projection.train()
    for _ in range(20):  # running statistics away from their start
        projection(rows)
    assert torch.allclose(projection.exported()(rows), projection.eval()(rows), atol=1e-5)


def test_mlp_when_exported_equals_itself_in_evaluation(features):
    projection = begin(features, MlpRecipe(hidden=16), 8, seed=0)
    rows = torch.tensor(features.pooled())
    projection.train()
    projection(rows)
    assert torch.equal(projection.exported()(rows), projection.eval()(rows))


def test_orthogonal_after_large_steps_is_still_lossless(features):
    projection = begin(features, OrthogonalRecipe(), DIM, seed=0)
    start = projection.exported().weight.clone()
    optimiser = torch.optim.SGD(projection.parameters(), lr=1.0)
    rows = torch.tensor(features.pooled())
    for _ in range(5):
        optimiser.zero_grad()
        projection(rows)[:, 0].pow(2).sum().backward()
        optimiser.step()
    exported = projection.exported()
    assert float((exported.weight - start).abs().max()) > 0.1
    assert np.allclose(cosines(exported(rows).detach().numpy()), cosines(rows.numpy()), atol=1e-4)


def test_refined_starts_as_its_closed_form_and_pays_for_leaving_it(features):
    recipe = RefinedRecipe(pull=2.0)
    projection = begin(features, recipe, 8, seed=0)
    closed = fit_closed_form(features, recipe.start, 8)
    rows = torch.tensor(features.pooled())
    assert np.allclose(cosines(projection.exported()(rows).numpy()), cosines(closed(rows).numpy()), atol=1e-5)
    assert float(projection(rows).detach().norm(dim=1).mean()) == pytest.approx(1, abs=1e-4)
    assert float(projection.penalty().detach()) == 0
    with torch.no_grad():
        projection.turn[0, 1] = 3.0
        projection.shift[2] = 1.0
    assert float(projection.penalty().detach()) == pytest.approx(2.0 * (9 + 1) / 8)
    assert torch.allclose(projection.exported()(rows), projection(rows), atol=1e-5)


def test_families_of_several_domains_separate_better_at_few_dims_than_truncation(features):
    def gap(projection, dim=3):
        embeddings = projection(torch.tensor(features.pooled())).detach().numpy()[:, :dim]
        pairs = all_pairs(embeddings, list(features.subjects))
        return (pairs.mated.mean() - pairs.non_mated.mean()) / pairs.non_mated.std()

    rotated = np.linalg.qr(np.random.default_rng(0).standard_normal((DIM, DIM)))[0].astype(np.float32)
    raw = gap(AffineProjection(rotated, np.zeros(DIM, np.float32)))
    assert gap(fit_rotation(features, RotationRecipe(centring=0.5))) > raw
    assert gap(fit_whitening(features, WhiteningRecipe())) > raw


def test_weights_that_do_not_name_the_domains_refuse(features):
    with pytest.raises(RecipeError, match="mean_weights"):
        fit_rotation(features, RotationRecipe(mean_weights={"a": 1.0}))


def test_closed_form_of_one_identity_refuses():
    with pytest.raises(DatasetError, match="two identities"):
        fit_rotation(make_features(identities=1, clips=4, dim=4), RotationRecipe())


def test_closed_form_wider_than_the_backbone_refuses(features):
    with pytest.raises(ProjectionError, match="12 components"):
        fit_closed_form(features, RotationRecipe(), DIM + 1)


def test_affine_projection_with_nan_refuses():
    with pytest.raises(ProjectionError, match="NaN"):
        AffineProjection(np.full((2, 2), np.nan, np.float32), np.zeros(2, np.float32))
    with pytest.raises(ProjectionError, match="weight must be"):
        AffineProjection(np.zeros((2, 2), np.float32), np.zeros(3, np.float32))
