"""The near rotation against slow sums, and what it promises: no offset, identities weighing alike."""

import numpy as np
import pytest
import torch

from matchka_train.errors import DatasetError
from matchka_train.features.features import Features
from matchka_train.projections.closed_form.near_rotation import (
    NearRotationRecipe,
    capped_moment,
    fit_near_rotation,
    within_scatter,
)

DIM = 5


def made(sizes: list[int], seed: int = 0) -> Features:
    """Identities of the given sizes around a common mean."""
    generator = np.random.default_rng(seed)
    centres = np.array([3.0, 1, 0, 0, 0]) + generator.normal(size=(len(sizes), DIM))
    rows = np.concatenate([c + generator.normal(0, 0.3, (n, DIM)) for c, n in zip(centres, sizes, strict=True)])
    subjects = tuple(f"s{i}" for i, n in enumerate(sizes) for _ in range(n))
    return Features(
        rows.astype(np.float32),
        np.ones(len(rows), np.int64),
        subjects,
        ("here",) * len(rows),
        tuple(f"{i}.jpg" for i in range(len(rows))),
        np.tile(np.array([[0, 1]], np.float32), (len(rows), 1)),
    )


def units_of(features: Features) -> list[np.ndarray]:
    return [row / np.sqrt(np.sum(row.astype(float) ** 2)) for row in features.windows.astype(float)]


@pytest.mark.parametrize("cap", [1, 2, 100])
def test_within_scatter_when_summed_slowly_is_the_same(cap: int) -> None:
    features = made([1, 4, 2, 7])
    units = units_of(features)
    total = np.zeros((DIM, DIM))
    for subject in set(features.subjects):
        own = [unit for unit, other in zip(units, features.subjects, strict=True) if other == subject]
        if len(own) == 1:
            continue
        covariance = np.cov(np.array(own).T)  # unbiased
        total += min(len(own), cap) * covariance
    expected = total / np.trace(total) * DIM
    numbers = np.unique(features.subjects, return_inverse=True)[1]
    np.testing.assert_allclose(within_scatter(np.array(units), numbers, cap, "here"), expected, atol=1e-12)


def test_capped_moment_when_one_identity_has_many_samples_counts_it_once() -> None:
    features = made([1, 9, 3])
    units = units_of(features)
    expected = np.zeros((DIM, DIM))
    for subject in set(features.subjects):
        own = [np.outer(u, u) for u, other in zip(units, features.subjects, strict=True) if other == subject]
        expected += np.mean(own, axis=0) / 3
    numbers = np.unique(features.subjects, return_inverse=True)[1]
    np.testing.assert_allclose(capped_moment(np.array(units), numbers, 1), expected, atol=1e-12)


def test_fit_near_rotation_when_nothing_is_whitened_is_orthogonal_and_keeps_every_cosine() -> None:
    features = made([3, 4, 1, 2])
    projection = fit_near_rotation(features, NearRotationRecipe(whitening=0.0))
    weight = projection.weight.numpy().astype(float)
    np.testing.assert_allclose(weight @ weight.T, np.eye(DIM), atol=1e-6)
    assert not projection.bias.any()
    # the first axis is the one along which the units' second moment about the origin is largest
    moment = capped_moment(np.array(units_of(features)), np.unique(features.subjects, return_inverse=True)[1], 1)
    along = np.einsum("ij,jk,ik->i", weight, moment, weight)
    assert np.all(np.diff(along) <= 1e-9)
    assert along[0] == pytest.approx(np.linalg.eigvalsh(moment)[-1])


def test_fit_near_rotation_when_whitening_shrinks_the_direction_in_which_samples_of_one_identity_differ() -> None:
    features = made([6] * 8)
    rows = features.windows.copy()
    rows[:, 4] += np.random.default_rng(1).normal(0, 2.0, len(rows)).astype(np.float32)  # says nothing about anyone
    noisy = Features(
        rows, *(getattr(features, name) for name in ("window_counts", "subjects", "domains", "paths", "spans"))
    )
    weight = fit_near_rotation(noisy, NearRotationRecipe(whitening=0.9)).weight
    lengths = torch.linalg.vector_norm(weight, dim=0)
    assert lengths[4] < 0.8 * lengths[:4].min()


def test_fit_near_rotation_when_repeated_gives_the_same_bytes() -> None:
    first, second = (fit_near_rotation(made([3, 4, 1]), NearRotationRecipe()).weight for _ in range(2))
    assert first.numpy().tobytes() == second.numpy().tobytes()


def test_fit_near_rotation_when_nobody_has_two_samples_refuses() -> None:
    with pytest.raises(DatasetError, match="two samples"):
        fit_near_rotation(made([1, 1, 1]), NearRotationRecipe())
