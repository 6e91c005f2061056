"""The same projection on every machine: what LAPACK, threads and the last bits of embeddings may change is fixed."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg

from matchka_train.features.features import Features, join_features
from matchka_train.projections.closed_form.near_rotation import NearRotationRecipe
from matchka_train.projections.closed_form.rotation import RotationRecipe
from matchka_train.projections.closed_form.statistics import ordered_axes, principal_axes, symmetric_power
from matchka_train.projections.closed_form.whitening import WhiteningRecipe
from matchka_train.projections.families import fit_closed_form
from tests.factories.features import make_features

DIM = 24
AS_ON_ANOTHER_MACHINE = 1e-4
RECIPES = [
    RotationRecipe(),
    RotationRecipe(centring=0),
    WhiteningRecipe(),
    WhiteningRecipe(whitening=1, shrinkage=0),
    NearRotationRecipe(identity_cap=20),
    NearRotationRecipe(whitening=1, identity_cap=20),
]
FIT_IN_ANOTHER_PROCESS = """
import sys
import numpy as np
from tests.training.projections.closed_form.test_reproducible import RECIPES, embeddings
from matchka_train.projections.families import fit_closed_form
np.save(sys.argv[1], [fit_closed_form(embeddings(), recipe, 24).weight.numpy() for recipe in RECIPES])
"""


def embeddings(noise: float = 0.0) -> Features:
    """Two domains whose embeddings are as those of real backbones: components that never respond, and a pair that no
    training set can order, because every sample is there a second time with the two exchanged.

    Args: noise: how far each embedding, of about unit length, is moved.
    """
    parts = [
        make_features(identities=30, clips=6, dim=DIM, domain="a", seed=1),
        make_features(identities=25, clips=5, dim=DIM, domain="b", seed=2, spread=0.9),
    ]
    features = join_features(parts)
    windows = np.array(features.windows) * np.geomspace(1.0, 0.3, DIM)
    windows[:, [3, 11, 12]] = 0.0
    exchanged = windows.copy()
    exchanged[:, [5, 6]] = windows[:, [6, 5]]
    twice = join_features([replace(features, windows=rows.astype(np.float32)) for rows in (windows, exchanged)])
    drawn = np.random.default_rng(7).standard_normal(twice.windows.shape)
    moved = np.array(twice.windows, np.float64) + noise * drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return replace(twice, windows=moved.astype(np.float32))


@pytest.mark.parametrize("driver", ["ev", "evd", "evr", "evx"])
@pytest.mark.parametrize("recipe", RECIPES, ids=repr)
def test_closed_form_when_lapack_is_another_and_embeddings_differ_in_their_last_bits_is_the_same(
    recipe, driver, monkeypatch
):
    expected = fit_closed_form(embeddings(), recipe, DIM)
    flipped = np.random.default_rng(3).choice([-1.0, 1.0], DIM)

    def eigh(matrix):
        values, vectors = scipy.linalg.eigh(matrix, driver=driver)
        return values, vectors * flipped  # another library's signs

    monkeypatch.setattr(np.linalg, "eigh", eigh)
    found = fit_closed_form(embeddings(noise=1e-6), recipe, DIM)
    np.testing.assert_allclose(found.weight, expected.weight, atol=AS_ON_ANOTHER_MACHINE)
    np.testing.assert_allclose(found.bias, expected.bias, atol=AS_ON_ANOTHER_MACHINE)


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "4"])
def test_closed_form_when_fitted_with_other_threads_is_the_same(threads, tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    path = tmp_path / "weights.npy"
    subprocess.run([sys.executable, "-c", FIT_IN_ANOTHER_PROCESS, str(path)], env=environment, check=True, timeout=300)
    for found, recipe in zip(np.load(path), RECIPES, strict=True):
        expected = fit_closed_form(embeddings(), recipe, DIM).weight
        np.testing.assert_allclose(found, expected, atol=AS_ON_ANOTHER_MACHINE)


def test_ordered_axes_when_a_basis_is_turned_within_equal_values_are_the_same():
    generator = np.random.default_rng(0)
    vectors = np.linalg.qr(generator.standard_normal((9, 9)))[0]
    values = np.array([0, 0, 1e-13, 0.5, 1, 1.0002, 1.0004, 2, 3])  # a null space and three that have no order
    expected = ordered_axes(values, vectors)
    turned = vectors.copy()
    for span in (slice(0, 3), slice(4, 7)):
        turned[:, span] = vectors[:, span] @ np.linalg.qr(generator.standard_normal((3, 3)))[0]
    turned[:, [3, 8]] *= -1
    assert np.abs(turned - vectors).max() > 0.1
    np.testing.assert_allclose(ordered_axes(values, turned), expected, atol=1e-12)
    np.testing.assert_allclose(expected @ expected.T, np.eye(9), atol=1e-12)
    # every axis still holds what its place says
    held = np.diag(expected @ (vectors * values) @ vectors.T @ expected.T)
    np.testing.assert_allclose(held, values[::-1], atol=1e-3)


def test_principal_axes_when_two_components_are_equally_large_make_the_first_positive():
    half = np.sqrt(0.5)
    vectors = np.array([[half, half], [-half - 1e-9, half]])
    for sign in (1, -1):
        axes = ordered_axes(np.array([1.0, 2.0]), vectors * sign)
        np.testing.assert_allclose(axes, [[half, half], [half, -half]], atol=1e-6)


def test_principal_axes_of_a_diagonal_with_null_directions_are_the_components_themselves():
    axes = principal_axes(np.diag([0.0, 2.0, 0.0, 5.0, 0.0]))
    np.testing.assert_allclose(axes, np.eye(5)[[3, 1, 0, 2, 4]], atol=1e-12)


def test_symmetric_power_when_a_direction_is_null_does_not_blow_it_up():
    np.testing.assert_allclose(symmetric_power(np.diag([4.0, 1.0, 1e-13]), -0.5), np.diag([0.5, 1.0, 0.5]), atol=1e-12)
