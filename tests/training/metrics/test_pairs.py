"""Pairs against double loops over the samples."""

import math

import numpy as np
import pytest

from matchka_train.errors import NoTrialsError
from matchka_train.metrics.pairs import all_pairs, balanced_pairs, listed_pairs, reference_pairs

SUBJECTS = ["b", "a", "b", "c", "a", "b", "c"]


@pytest.fixture
def embeddings():
    # lengths far from 1, so that a missing normalisation changes every similarity
    generator = np.random.default_rng(3)
    return (generator.standard_normal((len(SUBJECTS), 6)) * generator.uniform(0.1, 9, (len(SUBJECTS), 1))).astype(
        np.float32
    )


def cosine(a, b):
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(float(x) ** 2 for x in a)) / math.sqrt(sum(float(y) ** 2 for y in b))


def by_loop(embeddings, rows):
    """Sorted (similarity, subjects) of mated and of non-mated pairs."""
    mated, non_mated = [], []
    for i, j in rows:
        pair = (round(cosine(embeddings[i], embeddings[j]), 5), *sorted((SUBJECTS[i], SUBJECTS[j])))
        (mated if SUBJECTS[i] == SUBJECTS[j] else non_mated).append(pair)
    return sorted(mated), sorted(non_mated)


def found(pairs):
    names = sorted(set(SUBJECTS))
    mated = [
        (round(float(value), 5), names[who], names[who])
        for value, who in zip(pairs.mated, pairs.mated_subjects, strict=True)
    ]
    non_mated = [
        (round(float(value), 5), *sorted((names[first], names[second])))
        for value, (first, second) in zip(pairs.non_mated, pairs.non_mated_subjects, strict=True)
    ]
    return sorted(mated), sorted(non_mated)


def close(left, right):
    return len(left) == len(right) and all(
        a[1:] == b[1:] and abs(a[0] - b[0]) < 2e-5 for a, b in zip(left, right, strict=True)
    )


def test_all_pairs_of_unnormalised_rows_equal_a_double_loop(embeddings):
    rows = [(i, j) for i in range(len(SUBJECTS)) for j in range(i)]
    for got, expected in zip(found(all_pairs(embeddings, SUBJECTS)), by_loop(embeddings, rows), strict=True):
        assert close(got, expected)


def test_listed_pairs_compare_only_the_list(embeddings):
    rows = [(0, 2), (3, 1), (5, 4)]
    pairs = listed_pairs(embeddings, SUBJECTS, np.array(rows))
    for got, expected in zip(found(pairs), by_loop(embeddings, rows), strict=True):
        assert close(got, expected)


def test_balanced_pairs_are_distinct_labelled_right_and_repeatable():
    subjects = [f"s{number % 7}" for number in range(40)]
    pairs = balanced_pairs(subjects, 50, seed=4)
    same = [subjects[first] == subjects[second] for first, second in pairs]
    assert same == [True] * 50 + [False] * 50
    assert len({tuple(sorted(pair)) for pair in pairs.tolist()}) == 100
    assert np.array_equal(pairs, balanced_pairs(subjects, 50, seed=4))
    assert not np.array_equal(pairs, balanced_pairs(subjects, 50, seed=5))


def test_reference_pairs_when_all_but_one_sample_form_it_equal_the_mean_of_unit_rows(embeddings):
    # subject b has three samples: references of two templates leave exactly one probe of b
    pairs = reference_pairs(embeddings, SUBJECTS, dim=4, templates=2, draws=40, seed=0)
    unit = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in embeddings.astype(float).tolist()]
    own = [0, 2, 5]
    expected_mated, expected_non_mated = set(), set()
    for left_out in own:
        chosen = [row for row in own if row != left_out]
        reference = [sum(unit[row][k] for row in chosen) / 2 for k in range(6)]
        expected_mated.add(round(cosine(reference[:4], embeddings[left_out][:4]), 4))
        expected_non_mated |= {round(cosine(reference[:4], embeddings[row][:4]), 4) for row in (1, 3, 4, 6)}
    assert {round(float(value), 4) for value in pairs.mated} == expected_mated
    assert {round(float(value), 4) for value in pairs.non_mated} == expected_non_mated
    assert pairs.mated.size == 40
    assert pairs.non_mated.size == 160


def test_all_pairs_when_every_subject_has_one_sample_refuse(embeddings):
    with pytest.raises(NoTrialsError, match="no mated pair"):
        all_pairs(embeddings[:2], ["a", "b"])


def test_all_pairs_when_there_is_one_subject_refuse(embeddings):
    with pytest.raises(NoTrialsError, match="no non-mated pair"):
        all_pairs(embeddings[:2], ["a", "a"])


def test_reference_pairs_when_nobody_has_enough_samples_refuse(embeddings):
    with pytest.raises(NoTrialsError, match="no mated pair"):
        reference_pairs(embeddings, SUBJECTS, dim=4, templates=3, draws=1, seed=0)
