"""Scorers against dense normal densities: what is compared, and what the numbers of rows do."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from matchka.bundles.outputs.scoring import TwoCovarianceScoring
from matchka.bundles.scorers import two_covariance_scorer
from matchka.errors import DimensionError, ZeroVectorError
from matchka.scorers import COSINE, CountedEmbeddings, Scorer, TwoCovarianceScorer, counted
from tests.factories.bundles import DIMS
from tests.factories.scorers import LEAST_ROWS, covariances, section, slow_ratio, slow_similarity
from tests.factories.slow_embedding import cosine
from tests.factories.unit_vectors import unit_vectors

ROWS_A, ROWS_B = [1, 3, None, 3, 12], [2, None, 1, 40]


@pytest.fixture(scope="module")
def scorer() -> TwoCovarianceScorer:
    within, between = covariances()
    scoring = TwoCovarianceScoring.model_validate(section())
    return two_covariance_scorer(scoring, within.astype(np.float64), between.astype(np.float64))


def sides() -> tuple[CountedEmbeddings, CountedEmbeddings]:
    return counted(unit_vectors(5, 1, dim=8), ROWS_A), counted(unit_vectors(4, 2, dim=8), ROWS_B)


def by_loop(of: Callable[..., float], a: CountedEmbeddings, b: CountedEmbeddings, dim: int) -> np.ndarray:
    return np.array(
        [
            [of(x, y, rows_x, rows_y, dim) for y, rows_y in zip(b.vectors, b.row_counts, strict=True)]
            for x, rows_x in zip(a.vectors, a.row_counts, strict=True)
        ]
    )


@pytest.mark.parametrize("dim", DIMS)
def test_ratio_of_two_covariances_is_that_of_dense_normal_densities(scorer: TwoCovarianceScorer, dim: int):
    a, b = sides()
    found = scorer.ratios(a, b, dim)
    np.testing.assert_allclose(found, by_loop(slow_ratio, a, b, dim), rtol=1e-5, atol=1e-5)
    assert np.ptp(found) > 1


@pytest.mark.parametrize("dim", DIMS)
def test_similarity_is_the_ratio_on_the_scale_of_cosines_and_stays_within_1(scorer: TwoCovarianceScorer, dim: int):
    a, b = sides()
    found = scorer.similarities(a, b, dim)
    np.testing.assert_allclose(found, by_loop(slow_similarity, a, b, dim), atol=1e-6)
    assert found.dtype == np.float32
    steep = replace(scorer, models={dim: replace(scorer.models[dim], slope=1.0)})
    expected = np.clip(by_loop(slow_ratio, a, b, dim) + scorer.models[dim].offset, -1, 1)
    np.testing.assert_allclose(steep.similarities(a, b, dim), expected, atol=1e-5)
    assert np.any(np.abs(expected) == 1)


@pytest.mark.parametrize("dim", DIMS)
def test_similarity_is_the_same_from_either_side(scorer: TwoCovarianceScorer, dim: int):
    a, b = sides()
    np.testing.assert_allclose(scorer.similarities(a, b, dim), scorer.similarities(b, a, dim).T, atol=1e-7)


def test_similarity_of_a_pair_does_not_depend_on_the_others_in_the_call(scorer: TwoCovarianceScorer):
    a, b = sides()
    whole = scorer.similarities(a, b, 4)
    for row in range(5):
        one = CountedEmbeddings(a.vectors[row : row + 1], a.row_counts[row : row + 1])
        np.testing.assert_allclose(scorer.similarities(one, b, 4)[0], whole[row], atol=1e-7)


def test_unknown_number_of_rows_counts_as_a_great_many(scorer: TwoCovarianceScorer):
    vectors = unit_vectors(6, 4, dim=8)
    unknown, many = counted(vectors, [None] * 6), counted(vectors, [10**9] * 6)
    probe = counted(unit_vectors(3, 5, dim=8), [1, 2, 3])
    np.testing.assert_allclose(scorer.similarities(unknown, probe, 8), scorer.similarities(many, probe, 8), atol=1e-6)


def test_fewer_rows_than_the_least_count_as_the_least(scorer: TwoCovarianceScorer):
    vectors, (probe, _) = unit_vectors(4, 4, dim=8), sides()
    by_rows = [scorer.similarities(counted(vectors, [rows] * 4), probe, 8) for rows in (1, LEAST_ROWS, LEAST_ROWS + 1)]
    np.testing.assert_array_equal(by_rows[0], by_rows[1])
    assert not np.allclose(by_rows[1], by_rows[2], atol=1e-4)


def test_more_rows_on_both_sides_move_a_likely_and_an_unlikely_pair_apart(scorer: TwoCovarianceScorer):
    _, between = covariances()
    _, directions = np.linalg.eigh(between.astype(np.float64))
    own, other = directions[:, -1:].T.astype(np.float32), directions[:, -2:-1].T.astype(np.float32)
    few, many = ([1], [50])
    likely = [scorer.ratios(counted(own, n), counted(own, n), 8)[0, 0] for n in (few, many)]
    unlikely = [scorer.ratios(counted(own, n), counted(other, n), 8)[0, 0] for n in (few, many)]
    assert likely[1] > likely[0] > 0 > unlikely[0] > unlikely[1]


@pytest.mark.parametrize("kind", ["cosine", "two covariances"])
def test_similarities_of_pairs_are_those_of_the_whole_table(scorer: TwoCovarianceScorer, kind: str):
    chosen: Scorer = COSINE if kind == "cosine" else scorer
    a = counted(unit_vectors(5, 1, dim=8), ROWS_A)
    b = counted(unit_vectors(5, 2, dim=8), ROWS_A[::-1])
    whole = chosen.similarities(a, b, 4)
    np.testing.assert_allclose(chosen.similarities_of_pairs(a, b, 4), np.diag(whole), atol=1e-6)


def test_cosine_scorer_is_the_cosine_whatever_the_numbers_of_rows():
    a, b = sides()
    expected = [[cosine(x, y, 4) for y in b.vectors] for x in a.vectors]
    np.testing.assert_allclose(COSINE.similarities(a, b, 4), expected, atol=1e-6)


def test_shortlist_of_cosine_is_what_was_asked_for_and_of_another_scorer_ten_times_as_many(
    scorer: TwoCovarianceScorer,
):
    assert [COSINE.shortlist(top_k) for top_k in (1, 7)] == [1, 7]
    assert [scorer.shortlist(top_k) for top_k in (1, 5, 7)] == [50, 50, 70]
    assert (COSINE.is_cosine, scorer.is_cosine) == (True, False)


def test_dim_that_the_scorer_was_not_fitted_at_is_refused(scorer: TwoCovarianceScorer):
    a, b = sides()
    with pytest.raises(DimensionError, match="not fitted at this dim") as error:
        scorer.similarities(a, b, 3)
    assert (error.value.value, error.value.remedy) == ("3", "Use one of 2, 4, 8.")


def test_embedding_without_direction_is_refused(scorer: TwoCovarianceScorer):
    zero = counted(np.zeros((1, 8), np.float32), [1])
    with pytest.raises(ZeroVectorError):
        scorer.similarities(zero, sides()[1], 8)
