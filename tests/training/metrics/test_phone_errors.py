"""Phone error rates beside a recursive definition of the edit distance and counts by hand."""

from functools import cache
from itertools import groupby

import numpy as np
import pytest

from matchka_train.errors import NoTrialsError
from matchka_train.metrics.phone_errors import collapse, edit_distance, phone_errors


def slow_distance(one, other):
    """By its definition, without a table."""

    @cache
    def rest(i, j):
        if i == len(one) or j == len(other):
            return len(one) - i + len(other) - j
        return min(rest(i + 1, j) + 1, rest(i, j + 1) + 1, rest(i + 1, j + 1) + (one[i] != other[j]))

    return rest(0, 0)


def test_edit_distance_when_sequences_are_random_is_that_of_its_definition():
    generator = np.random.default_rng(0)
    for _ in range(200):
        one, other = (tuple(generator.integers(1, 5, generator.integers(0, 9)).tolist()) for _ in range(2))
        assert edit_distance(one, other) == slow_distance(one, other)


def test_collapse_when_paths_are_random_merges_repeats_before_it_drops_blanks():
    generator = np.random.default_rng(1)
    for _ in range(50):
        path = generator.integers(0, 3, 12)
        assert collapse(path) == tuple(phone for phone, _ in groupby(path.tolist()) if phone)


def one_hot(path, classes=4):
    return np.log(np.eye(classes, dtype=np.float32)[path] * 0.96 + 0.01)


def test_phone_errors_when_clips_are_decoded_counts_edits_phones_and_blanks():
    paths = [[0, 1, 1, 0, 2], [3, 3, 0, 3], [0, 0]]
    found = phone_errors([one_hot(path) for path in paths], [(1, 2), (3,), (1, 1, 1)], ["a", "a", "b"])
    assert found.errors.tolist() == [0, 1, 3]
    assert found.phones.tolist() == [2, 1, 3]
    assert found.rate == pytest.approx(4 / 6)
    assert found.blank_share == pytest.approx(5 / 11)
    assert found.select(np.array([True, False, True])).rate == pytest.approx(3 / 5)


def test_interval_when_speakers_are_drawn_holds_rates_of_some_of_them_only():
    generator = np.random.default_rng(2)
    speakers = [f"s{number}" for number in range(20) for _ in range(5)]
    wrong = np.repeat(generator.integers(0, 2, 20), 5)  # a speaker is read all right or all wrong
    found = phone_errors([one_hot([2 if bad else 1]) for bad in wrong], [(1,)] * 100, speakers)
    draws = [wrong[::5][generator.integers(0, 20, 20)].mean() for _ in range(4000)]
    assert np.allclose(found.interval(seed=0), np.quantile(draws, [0.025, 0.975]), atol=0.051)


def test_phone_errors_when_nothing_is_to_be_read_refuses():
    with pytest.raises(NoTrialsError, match="no phone"):
        phone_errors([one_hot([0])], [()], ["a"])
