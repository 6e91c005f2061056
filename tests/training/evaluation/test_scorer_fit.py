"""Two covariances of people that were drawn from known ones, against slow sums; and what is stored of them."""

import io

import numpy as np
import pytest

from matchka.bundles.outputs.scoring import CosineScoring
from matchka.bundles.scorers import read_covariances, two_covariance_scorer
from matchka.scorers import COSINE
from matchka_train.errors import DatasetError
from matchka_train.evaluation.scorer_fit import CosineRecipe, Embedded, TwoCovarianceRecipe, covariances
from matchka_train.metrics.scored_embeddings import ScoredEmbeddings

DIM, DIMS = 6, (2, 4, 6)
RECIPE = TwoCovarianceRecipe(kind="two_covariance", domain_weights={"a": 3.0, "b": 1.0})


def people(count: int, samples: int, seed: int, rows: int = 4) -> tuple[ScoredEmbeddings, list[str]]:
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(count, DIM)) * np.linspace(1.0, 0.3, DIM)
    vectors = np.repeat(means, samples, axis=0) + 0.2 * rng.normal(size=(count * samples, DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    counts = rng.integers(1, rows + 1, count * samples).astype(np.float64)
    names = [f"{seed}/{number // samples:03d}" for number in range(count * samples)]
    return ScoredEmbeddings(vectors.astype(np.float32), counts, COSINE), names


@pytest.fixture(scope="module")
def embedded() -> Embedded:
    return {"a": people(40, 5, 1), "b": people(30, 2, 2)}


def slow_covariances(vectors: np.ndarray, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """As the definitions say, one person after the other."""
    within, means, inverse = np.zeros((DIM, DIM)), [], []
    for name in sorted(set(names)):
        own = vectors[[row for row, other in enumerate(names) if other == name]]
        means.append(own.mean(axis=0))
        inverse.append(1 / len(own))
        for row in own:
            within += np.outer(row - means[-1], row - means[-1])
    within /= len(names) - len(means)
    return within, np.cov(np.array(means).T) - within * np.mean(inverse)


def test_covariances_are_those_of_the_definitions(embedded: Embedded):
    samples, names = embedded["a"]
    unit = samples.vectors.astype(np.float64)
    unequal = [row for row in range(len(names)) if row % 7]  # people with different numbers of samples
    found = covariances(unit[unequal], [names[row] for row in unequal])
    for got, expected in zip(found, slow_covariances(unit[unequal], [names[r] for r in unequal]), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-12)


def test_covariances_of_many_drawn_people_are_near_those_they_were_drawn_with():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(4000, 3)) * [1.0, 0.5, 0.2]
    rows = np.repeat(means, 2, axis=0) + 0.4 * rng.normal(size=(8000, 3))
    within, between = covariances(rows, [f"{number // 2:04d}" for number in range(8000)])
    np.testing.assert_allclose(within, np.eye(3) * 0.16, atol=0.01)
    np.testing.assert_allclose(between, np.diag([1.0, 0.25, 0.04]), atol=0.05)


def test_fit_weighs_the_domains_and_stores_what_it_measures_with(embedded: Embedded, tmp_path):
    fitted = RECIPE.fit(lambda: embedded, DIMS, seed=0)
    (tmp_path / "scorer.npz").write_bytes(fitted.files["scorer.npz"])
    stored = read_covariances(tmp_path / "scorer.npz", DIM)
    of = {d: slow_covariances(s.vectors.astype(np.float64), names) for d, (s, names) in embedded.items()}
    for number in (0, 1):
        np.testing.assert_allclose(stored[number], 0.75 * of["a"][number] + 0.25 * of["b"][number], atol=1e-7)
    again = two_covariance_scorer(fitted.scoring, *stored)
    samples = embedded["a"][0].counted
    for dim in DIMS:
        own = fitted.scorer.similarities(samples, samples, dim)
        np.testing.assert_array_equal(again.similarities(samples, samples, dim), own)
    inverse = np.concatenate([1 / part.row_counts for part, _ in embedded.values()])
    assert fitted.scoring.mean_inverse_rows == pytest.approx(inverse.mean())
    lengths = [np.mean(np.sum(part.vectors[:, :2].astype(np.float64) ** 2, axis=1)) for part, _ in embedded.values()]
    assert fitted.scoring.per_dim["2"].scale == pytest.approx(np.mean(lengths), abs=1e-6)
    assert fitted.scoring.per_dim["6"].scale == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("dim", DIMS)
def test_medians_of_mated_and_non_mated_pairs_are_those_of_the_cosines(embedded: Embedded, dim: int):
    fitted = RECIPE.fit(lambda: embedded, DIMS, seed=0)
    samples, names = embedded["a"]
    same = np.asarray(names)[:, None] == np.asarray(names)
    upper = np.triu(np.ones_like(same), k=1)
    at = fitted.scoring.per_dim[str(dim)]
    similarities = at.slope * fitted.scorer.ratios(samples.counted, samples.counted, dim) + at.offset
    cosines = COSINE.similarities(samples.counted, samples.counted, dim)
    for kind in (same & upper, ~same & upper):
        assert np.median(similarities[kind]) == pytest.approx(np.median(cosines[kind]), abs=1e-5)


def test_same_data_give_the_same_file(embedded: Embedded):
    first, second = (RECIPE.fit(lambda: embedded, DIMS, seed=0) for _ in range(2))
    assert first.files == second.files
    assert first.scoring == second.scoring
    assert set(np.load(io.BytesIO(first.files["scorer.npz"])).files) == {"within", "between"}


def test_cosine_needs_no_training_identities():
    def nobody() -> Embedded:
        raise AssertionError("asked for")

    fitted = CosineRecipe().fit(nobody, DIMS, 0)
    assert (fitted.scorer, fitted.scoring, dict(fitted.files)) == (COSINE, CosineScoring(), {})


def test_weights_of_other_domains_are_refused(embedded: Embedded):
    with pytest.raises(DatasetError, match="training domains a, b"):
        TwoCovarianceRecipe(kind="two_covariance", domain_weights={"a": 1.0}).fit(lambda: embedded, DIMS, 0)


def test_domain_whose_people_have_one_sample_each_is_refused(embedded: Embedded):
    with pytest.raises(DatasetError, match="somebody with two samples") as error:
        RECIPE.fit(lambda: {"a": embedded["a"], "b": people(5, 1, 3)}, DIMS, 0)
    assert error.value.value == "b"


def test_scale_needs_pairs_of_both_kinds(embedded: Embedded, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("matchka_train.evaluation.scorer_fit.MOST_SCALED", 1)
    with pytest.raises(DatasetError, match="mated and non-mated pairs"):
        RECIPE.fit(lambda: embedded, DIMS, 0)
