"""AS-norm against loops over the cohort."""

import numpy as np
import pytest

from matchka_train.errors import DatasetError
from matchka_train.evaluation.as_norm import as_norm_pairs, cohort_embeddings
from tests.factories.features import make_features


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_as_norm_pairs_equal_loops_over_the_cohort():
    generator = np.random.default_rng(0)
    rows = (generator.standard_normal((6, 4)) * 5).astype(np.float32)
    cohort = generator.standard_normal((9, 4)).astype(np.float32)
    subjects = ["a", "a", "b", "b", "c", "c"]
    found = as_norm_pairs(rows, subjects, cohort, top=3)
    mated, non_mated = [], []
    for i in range(6):
        for j in range(i + 1, 6):
            sides = []
            for row in (rows[i], rows[j]):
                nearest = sorted((cosine(row, other) for other in cohort), reverse=True)[:3]
                mean = sum(nearest) / 3
                spread = (sum((value - mean) ** 2 for value in nearest) / 3) ** 0.5
                sides.append((cosine(rows[i], rows[j]) - mean) / spread)
            (mated if subjects[i] == subjects[j] else non_mated).append(sum(sides) / 2)
    assert np.allclose(sorted(found.mated), sorted(mated), rtol=1e-3)
    assert np.allclose(sorted(found.non_mated), sorted(non_mated), rtol=1e-3)


def test_as_norm_of_listed_pairs_gives_each_what_it_has_among_all_pairs():
    generator = np.random.default_rng(1)
    rows, cohort = generator.standard_normal((5, 4)), generator.standard_normal((9, 4)).astype(np.float32)
    subjects = ["a", "b", "a", "b", "c"]
    trials = np.array([[4, 1], [2, 0], [0, 1], [3, 1]])
    found = as_norm_pairs(rows.astype(np.float32), subjects, cohort, 3, trials)
    for row, pair in enumerate(trials[[1, 3, 0, 2]]):  # mated first
        two = pair.tolist()
        alone = as_norm_pairs(rows[[*two, *two]].astype(np.float32), ["x", "y", "x", "y"], cohort, 3)
        expected = alone.non_mated[0]  # of the pair itself, whatever its subjects are called
        assert (found.mated[row] if row < 2 else found.non_mated[row - 2]) == pytest.approx(expected, rel=1e-4)


def test_cohort_embeddings_are_the_means_of_unit_rows_of_one_domain():
    features = make_features(identities=3, clips=2, dim=4)
    scaled = features.pooled() * np.arange(1, 7, dtype=np.float32)[:, None]
    found = cohort_embeddings(scaled, features, "a")
    for number, row in enumerate(found):
        own = features.pooled()[2 * number : 2 * number + 2]
        assert np.allclose(row, sum(one / np.linalg.norm(one) for one in own) / 2, atol=1e-6)


def test_as_norm_with_too_small_a_cohort_refuses():
    rows = np.eye(4, dtype=np.float32)
    with pytest.raises(DatasetError, match="2 to 4"):
        as_norm_pairs(rows, ["a", "a", "b", "b"], rows, top=5)


def test_cohort_of_an_unknown_domain_refuses_and_names_those_there_are():
    features = make_features(identities=3, clips=2, dim=4)
    with pytest.raises(DatasetError, match="there are a"):
        cohort_embeddings(features.pooled(), features, "z")
