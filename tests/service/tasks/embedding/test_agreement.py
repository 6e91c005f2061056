"""Which samples are taken for one person's, against slow recomputation of means, similarities and thresholds."""

import copy
import math
from itertools import permutations
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.scorers import COSINE
from matchka.store.records import StoredEmbedding
from matchka.tasks.embedding.agreement import agreement_threshold, at_odds, differing, mean_of
from tests.factories.bundles import dim_report, embedding_output
from tests.factories.slow_embedding import cosine

FULL_DIM = 8
POINTS = {"1": ((0.1, 0.5), (0.01, 0.8)), "3": ((0.1, 0.6), (0.01, 0.9))}


def report(eer: float = 0.05, points: Any = None) -> dict[str, Any]:
    made = copy.deepcopy(dim_report())
    for metrics in made["metrics"].values():
        metrics["eer"] = eer
    made["operating_points"] = {
        count: [{"fmr": fmr, "threshold": threshold, "measured": True} for fmr, threshold in of_count]
        for count, of_count in (points or POINTS).items()
    }
    return made


def output(**changes: Any) -> EmbeddingOutput:
    return EmbeddingOutput.model_validate(embedding_output(report=report(**changes)))


def slow_threshold(points: tuple[tuple[float, float], ...]) -> float:
    """On the straight line through two points, of Fisher's z over the normal quantile, at a rate of 0.05."""
    (x0, z0), (x1, z1) = ((NormalDist().inv_cdf(1 - fmr), math.atanh(value)) for fmr, value in points)
    return math.tanh(z0 + (NormalDist().inv_cdf(0.95) - x0) * (z1 - z0) / (x1 - x0))


def around(person: int, take: int, spread: float) -> StoredEmbedding:
    """A unit vector near the axis of a person."""
    vector = np.eye(FULL_DIM)[person] + spread * np.random.default_rng(100 * person + take).normal(size=FULL_DIM)
    return StoredEmbedding((vector / np.linalg.norm(vector)).astype(np.float32), 1, None)


@pytest.mark.parametrize(("count", "key"), [(1, "1"), (2, "3"), (3, "3"), (9, "3")])
def test_threshold_is_that_of_one_in_twenty_for_the_number_of_templates(count: int, key: str):
    expected = slow_threshold(POINTS[key])
    assert agreement_threshold(output(), (None, None), count) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("eer", "asks"), [(0.0, True), (0.05, True), (0.0501, False), (0.3, False)])
def test_nothing_is_asked_where_the_bundles_own_error_rate_is_higher(eer: float, asks: bool):
    strangers = [around(0, 0, 0.0), around(1, 0, 0.0)]
    assert (agreement_threshold(output(eer=eer), (None, None), 1) > -1.0) == asks
    assert bool(at_odds(output(eer=eer), COSINE, strangers)) == asks
    assert bool(differing(output(eer=eer), COSINE, mean_of(strangers[:1]), strangers[1:])) == asks


@pytest.mark.parametrize("held", [1, 2, 5])
def test_samples_that_differ_are_those_below_the_threshold_of_the_mean(held: int):
    templates = [around(0, take, 0.35) for take in range(held)]
    new = [around(take % 2, 50 + take, 0.35) for take in range(40)]
    mean = np.mean([one.vector.astype(np.float64) for one in templates], axis=0)
    threshold = slow_threshold(POINTS["1" if held == 1 else "3"])
    expected = [place for place, one in enumerate(new) if cosine(mean, one.vector) < threshold]
    assert differing(output(), COSINE, mean_of(templates), new) == expected
    assert 0 < len(expected) < 40


def test_one_sample_is_at_odds_with_nobody():
    assert at_odds(output(), COSINE, []) == at_odds(output(), COSINE, [around(0, 0, 0.1)]) == []


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_stranger_among_samples_of_one_person_is_named_wherever_he_stands(order: tuple[int, ...]):
    people = [0, 0, 0, 3]
    samples = [around(people[place], place, 0.1) for place in order]
    assert at_odds(output(), COSINE, samples) == [order.index(3)]


@pytest.mark.parametrize("people", [[0, 1], [0, 0, 1, 1], [0, 1, 2], [0] * 5 + [1] * 5])
def test_where_no_majority_agrees_all_are_at_odds(people: list[int]):
    samples = [around(person, take, 0.1) for take, person in enumerate(people)]
    assert at_odds(output(), COSINE, samples) == list(range(len(people)))


def test_ten_samples_of_which_some_pairs_are_unlike_agree_by_their_mean():
    vectors = [
        [math.cos(angle), math.sin(angle), *[0] * (FULL_DIM - 2)] for angle in np.radians(np.linspace(-35, 35, 10))
    ]
    samples = [StoredEmbedding(np.asarray(vector, np.float32), 1, None) for vector in vectors]
    assert cosine(samples[0].vector, samples[-1].vector) < slow_threshold(POINTS["1"])
    assert at_odds(output(), COSINE, samples) == []


LOW, HIGH = ((0.1, 0.6), (0.01, 0.9)), ((0.1, 0.2), (0.01, 0.3))


@pytest.mark.parametrize(
    ("conditions", "points"),
    [((5.0, -5.0), LOW), ((5.0, 9.0), HIGH), ((None, 9.0), LOW), ((None, None), LOW), ((None, -5.0), LOW)],
)
def test_poorer_or_unknown_condition_sets_the_higher_threshold_and_never_none(
    conditions: tuple[float | None, float | None], points: tuple[tuple[float, float], ...]
):
    # a poor band's own error rate is above the one that is asked for, which lets nobody in
    bands = [report(eer=0.3, points={"1": LOW}), report(eer=0.01, points={"1": HIGH})]
    names = ("metrics", "calibration", "operating_points")
    made = report(points={"1": HIGH}) | {"bands": [{name: band[name] for name in names} for band in bands]}
    condition = {"value": "native_px", "edges": [0.0], "source": "sample"}
    graph = EmbeddingOutput.model_validate(embedding_output(report=made) | {"condition": condition})
    assert agreement_threshold(graph, conditions, 1) == pytest.approx(slow_threshold(points), abs=1e-9)
