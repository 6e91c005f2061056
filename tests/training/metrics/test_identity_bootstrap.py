"""Bounds over draws of people: against loops over lists of pairs, and on worlds in which the plain threshold fails."""

import itertools

import numpy as np
import pytest
from scipy.stats import norm

from matchka_train.errors import NoTrialsError
from matchka_train.metrics.calibration import FisherScale, thresholds_at
from matchka_train.metrics.identity_bootstrap import WeightedTail, bounded_thresholds, draw_people
from matchka_train.metrics.pairs import PairSimilarities, all_pairs


def world(people: int, samples: int, seed: int) -> PairSimilarities:
    """All pairs of samples of people of twenty families: two of one family are alike, and few pairs are of one."""
    generator = np.random.default_rng(seed)
    families = generator.standard_normal((20, 12))
    own = families[generator.integers(0, 20, people)] + 0.8 * generator.standard_normal((people, 12))
    rows = np.repeat(own, samples, axis=0) + 0.5 * generator.standard_normal((people * samples, 12))
    return all_pairs(rows.astype(np.float32), [f"p{number:04d}" for number in range(people) for _ in range(samples)])


def slow_threshold(scored: list[tuple[float, int]], rate: float) -> float:
    """The smallest threshold whose weighted share of scores does not pass the rate, tried one by one."""
    total = sum(weight for _, weight in scored)
    candidates = sorted({score for score, _ in scored}, reverse=True)
    best = float(np.nextafter(np.float32(candidates[0]), np.float32(2)))
    for score in candidates:
        above = float(np.nextafter(np.float32(score), np.float32(2)))
        if sum(weight for other, weight in scored if other >= above) > rate * total * (1 + 1e-9):
            break
        best = above
    return best


def slow_bounds(pairs: PairSimilarities, rates: tuple[float, ...], draws: np.ndarray) -> list[float]:
    people_pairs = len({tuple(sorted(pair)) for pair in pairs.non_mated_subjects.tolist()})
    lowest = min(0.05, 3 / people_pairs)
    grid = np.exp(np.linspace(np.log(0.1), np.log(lowest), 12))
    found = []
    for draw in draws:
        scored = [
            (float(score), int(draw[a] * draw[b]))
            for score, (a, b) in zip(pairs.non_mated, pairs.non_mated_subjects, strict=True)
        ]
        if not any(weight for _, weight in scored):
            continue
        slope, shift = np.polyfit(norm.isf(grid), [np.arctanh(slow_threshold(scored, rate)) for rate in grid], 1)
        row, least = [], -1.0
        for rate in rates:
            tail = float(np.tanh(slope * norm.isf(rate) + shift))
            least = max(least, slow_threshold(scored, rate) if rate >= lowest else tail)
            row.append(least)
        found.append(row)
    return np.quantile(found, 0.95, axis=0).tolist()


def test_bounded_thresholds_on_pairs_with_ties_equal_a_loop_over_draws() -> None:
    pairs = world(9, 3, 0)
    rounded = np.round(pairs.non_mated, 1)
    pairs = PairSimilarities(pairs.mated, rounded, pairs.mated_subjects, pairs.non_mated_subjects, pairs.subject_count)
    draws = draw_people(pairs.non_mated_subjects, 9, 25, seed=3)
    rates = (0.3, 0.1, 0.01, 0.001)
    found = bounded_thresholds(pairs.non_mated, pairs.non_mated_subjects, 36, rates, draws, FisherScale())
    assert found.bounds.tolist() == pytest.approx(slow_bounds(pairs, rates, draws), abs=1e-6)
    assert found.estimates.tolist() == pytest.approx(slow_bounds(pairs, rates, np.ones((1, 9), int)), abs=1e-6)
    assert np.all(np.diff(found.bounds) >= 0)


def test_weighted_tail_when_the_highest_scores_weigh_nothing_looks_at_the_others() -> None:
    """Only two of the people were drawn, and their pairs are the lowest of all."""
    who = np.array([(a, b) for a, b in itertools.combinations(range(6), 2) for _ in range(10)])
    scores = np.linspace(0.9, 0.1, len(who)).astype(np.float32)  # falling: people 4 and 5 come last
    drawn = np.array([0, 0, 0, 0, 3, 2])
    lowest = scores[-10:]
    threshold = WeightedTail(scores, who).thresholds(drawn, np.array([0.2]))
    assert threshold is not None
    assert np.sum(lowest >= threshold[0]) == 2
    assert WeightedTail(scores, who).thresholds(np.array([6, 0, 0, 0, 0, 0]), np.array([0.2])) is None


def test_thresholds_at_with_equal_seeds_are_equal_and_do_not_fall() -> None:
    pairs = world(35, 4, 1)
    first, again, other = (thresholds_at(pairs, seed, resamples=100) for seed in (5, 5, 6))
    assert first == again
    assert first != other
    assert [point.estimate for point in first] == [point.estimate for point in other]
    for points in (first, other):
        assert np.all(np.diff([point.threshold for point in points]) >= 0)
        assert all(point.threshold >= point.estimate for point in points)


def test_thresholds_at_of_copies_stay_below_one() -> None:
    """All people have one and the same sample: similarity 1 everywhere."""
    pairs = all_pairs(np.ones((70, 4), np.float32), [f"p{number // 2}" for number in range(70)])
    for point in thresholds_at(pairs, seed=0, resamples=20):
        assert 0.99 < point.threshold < 1.0


def test_thresholds_at_of_a_similarity_that_is_no_number_refuse() -> None:
    pairs = world(10, 2, 2)
    pairs.non_mated[3] = np.nan
    with pytest.raises(NoTrialsError):
        thresholds_at(pairs, seed=0)


def test_bounded_thresholds_when_no_draw_holds_a_pair_refuse() -> None:
    draws = np.array([[2, 0], [0, 2]])
    with pytest.raises(NoTrialsError, match="No draw"):
        bounded_thresholds(np.array([0.5]), np.array([[0, 1]]), 1, (0.1,), draws, FisherScale())


def test_thresholds_at_on_people_never_seen_keep_the_rate_where_plain_ones_do_not() -> None:
    """Forty people calibrate and three hundred others are tried, twenty times over."""
    rates = (1e-1, 1e-2, 1e-3)
    achieved: dict[str, list[list[float]]] = {"threshold": [], "estimate": []}
    for seed in range(20):
        points = thresholds_at(world(40, 3, 100 + seed), seed, rates, resamples=300)
        others = world(300, 2, 500 + seed).non_mated
        for name, rows in achieved.items():
            rows.append([float(np.mean(others >= getattr(point, name))) for point in points])
    bound, plain = (np.array(rows) / rates for rows in achieved.values())
    assert np.all(bound.mean(axis=0) <= 1.0)
    assert np.all((bound <= 1.5).mean(axis=0) >= 0.9)
    assert plain.mean(axis=0)[2] > 1.5
    assert np.all((plain <= 1.5).mean(axis=0)[1:] <= 0.75)
