"""Pairs, references and impostors of scored embeddings, against loops over a slow scorer."""

import numpy as np
import pytest

from matchka.bundles.outputs.scoring import TwoCovarianceScoring
from matchka.bundles.scorers import two_covariance_scorer
from matchka_train.evaluation.as_norm import as_norm_pairs
from matchka_train.evaluation.identification import identify
from matchka_train.metrics.impostor_tails import fit_tails
from matchka_train.metrics.pairs import all_pairs, listed_pairs, reference_pairs
from matchka_train.metrics.scored_embeddings import ScoredEmbeddings
from tests.factories.scorers import covariances, section, slow_similarity
from tests.factories.unit_vectors import unit_vectors

SUBJECTS = [f"s{number // 3}" for number in range(12)]


@pytest.fixture(scope="module")
def samples() -> ScoredEmbeddings:
    scoring = TwoCovarianceScoring.model_validate(section())
    scorer = two_covariance_scorer(scoring, *(part.astype(np.float64) for part in covariances()))
    return ScoredEmbeddings(unit_vectors(12, 3, dim=8), np.array([1.0, 2, 5, 3] * 3), scorer)


def slowly(samples: ScoredEmbeddings, first: int, second: int, dim: int) -> float:
    a, b = (samples.vectors[row] for row in (first, second))
    return slow_similarity(a, b, samples.row_counts[first], samples.row_counts[second], dim)


def test_all_pairs_of_scored_embeddings_are_compared_by_their_scorer(samples: ScoredEmbeddings):
    pairs = all_pairs(samples[:, :4], SUBJECTS)
    expected = [[], []]
    for first in range(12):
        for second in range(first + 1, 12):
            expected[SUBJECTS[first] != SUBJECTS[second]].append(slowly(samples, first, second, 4))
    np.testing.assert_allclose(pairs.mated, expected[0], atol=1e-6)
    np.testing.assert_allclose(pairs.non_mated, expected[1], atol=1e-6)


def test_listed_pairs_of_scored_embeddings_are_compared_by_their_scorer(samples: ScoredEmbeddings):
    trials = np.array([[0, 1], [0, 5], [4, 3], [11, 2]])
    pairs = listed_pairs(samples, SUBJECTS, trials)
    np.testing.assert_allclose(pairs.mated, [slowly(samples, 0, 1, 8), slowly(samples, 4, 3, 8)], atol=1e-6)
    np.testing.assert_allclose(pairs.non_mated, [slowly(samples, 0, 5, 8), slowly(samples, 11, 2, 8)], atol=1e-6)


def test_reference_counts_the_rows_of_all_its_templates(samples: ScoredEmbeddings):
    pairs = reference_pairs(samples, SUBJECTS, dim=4, templates=2, draws=30, seed=0)
    expected = set()
    for probe in range(12):
        others = [row for row in range(12) if SUBJECTS[row] == SUBJECTS[probe] and row != probe]
        mean = samples.vectors[others].astype(np.float64).mean(axis=0)
        rows = samples.row_counts[others].sum()
        found = slow_similarity(mean, samples.vectors[probe], rows, samples.row_counts[probe], 4)
        expected.add(round(found, 4))
    assert {round(float(value), 4) for value in pairs.mated} == expected


def test_tails_and_identification_use_the_scorer_and_not_the_cosine(samples: ScoredEmbeddings):
    rng = np.random.default_rng(1)
    vectors, subjects = unit_vectors(160, 9, dim=8), [f"p{number // 5}" for number in range(160)]
    many = ScoredEmbeddings(vectors, rng.integers(1, 9, 160).astype(np.float64), samples.scorer)
    own = fit_tails(many, subjects, 8, templates=3, draws=2, seed=0)
    cosine = fit_tails(vectors, subjects, 8, templates=3, draws=2, seed=0)
    assert not np.allclose(own.means, cosine.means, atol=1e-3)
    threshold = identify(many, subjects, 8).threshold
    table = many.similarities(many, 8)
    assert table.min() <= threshold <= np.nextafter(np.float32(1), np.float32(2))
    assert threshold != identify(vectors, subjects, 8).threshold


def test_as_norm_of_scored_embeddings_normalises_their_own_similarities(samples: ScoredEmbeddings):
    subjects, cohort, top = SUBJECTS[:6], samples[6:], 3
    found = as_norm_pairs(samples[:6, :4], subjects, cohort[:, :4], top)
    expected: tuple[list[float], list[float]] = ([], [])
    for first in range(6):
        for second in range(first + 1, 6):
            plain, sides = slowly(samples, first, second, 4), []
            for row in (first, second):
                nearest = sorted(slowly(samples, row, other, 4) for other in range(6, 12))[-top:]
                sides.append((plain - np.mean(nearest)) / np.std(nearest))
            expected[subjects[first] != subjects[second]].append(sum(sides) / 2)
    np.testing.assert_allclose(found.mated, expected[0], rtol=1e-3)
    np.testing.assert_allclose(found.non_mated, expected[1], rtol=1e-3)


def test_indexing_takes_rows_with_their_counts_and_first_components(samples: ScoredEmbeddings):
    part = samples[[3, 1], :2]
    np.testing.assert_array_equal(part.vectors, samples.vectors[[3, 1], :2])
    assert part.row_counts.tolist() == [3, 2]
    assert (part.shape, len(samples[2:5])) == ((2, 2), 3)
