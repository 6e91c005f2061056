"""Galleries are dealt fairly, and their rates are counted as slow loops count them."""

import math

import numpy as np
import pytest

from loadtests.identification.people import Person
from loadtests.identification.rates import (
    ImpostorModel,
    draw_gallery,
    false_negative_rate,
    false_positive_rate,
    hold,
)
from loadtests.identification.service import table_threshold
from loadtests.scoring import Cosine, Counted

DIM = 5


@pytest.fixture
def people() -> list[Person]:
    unseen = [Person(f"u{n}", True, (b"",) * 4) for n in range(12)]
    return unseen + [Person(f"seen{n}", False, (b"",) * 3) for n in range(9)]


@pytest.fixture
def embedded(people: list[Person]) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    vectors = []
    for person in people:
        rows = rng.standard_normal(DIM) + 0.6 * rng.standard_normal((len(person.samples), DIM))
        vectors.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
    return vectors


def test_draw_gallery_when_larger_than_half_fills_with_people_training_saw(people: list[Person]):
    draw = draw_gallery(people, [len(p.samples) for p in people], 10, 2, np.random.default_rng(0))
    enrolled = [people[n] for n in draw.enrolled]
    assert [p.unseen for p in enrolled] == [True] * 6 + [False] * 4
    assert draw.probed == 6
    assert all(people[n].unseen for n in draw.impostors)
    assert not set(draw.impostors) & set(draw.enrolled)
    assert all(len(set(rows.tolist())) == 2 for rows in draw.chosen)


def test_rates_when_counted_by_hand_agree(people: list[Person], embedded: list[np.ndarray]):
    draw = draw_gallery(people, [len(p.samples) for p in people], 8, 2, np.random.default_rng(1))
    held = hold(draw, [Counted(rows, np.ones(len(rows))) for rows in embedded], 3, Cosine())
    threshold = 0.8

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        a, b = a[:3].astype(float), b[:3].astype(float)
        return float(a @ b / math.sqrt(a @ a) / math.sqrt(b @ b))

    references = {
        n: embedded[n][rows].astype(np.float32).mean(axis=0) for n, rows in zip(draw.enrolled, draw.chosen, strict=True)
    }
    named = [
        max(cosine(sample, reference) for reference in references.values()) >= threshold
        for n in draw.impostors
        for sample in embedded[n]
    ]
    missed = []
    for n, rows in zip(draw.enrolled[: draw.probed], draw.chosen, strict=False):
        for number, sample in enumerate(embedded[n]):
            if number not in rows.tolist():
                similarities = {other: cosine(sample, reference) for other, reference in references.items()}
                best = max(similarities, key=lambda other: similarities[other])
                missed.append(best != n or similarities[n] < threshold)
    generator = np.random.default_rng(0)
    assert 0 < sum(named) < len(named)
    assert 0 < sum(missed) < len(missed)
    false_positive = false_positive_rate([held], threshold, generator)
    assert false_positive.value == pytest.approx(np.mean(named))
    assert false_positive.low <= false_positive.value <= false_positive.high
    assert false_negative_rate([held], threshold, generator).value == pytest.approx(np.mean(missed))


def test_impostor_model_when_impostors_differ_is_the_mean_of_their_own_rates():
    model = ImpostorModel(np.array([0.0, 0.4]), np.array([0.2, 0.1]))
    z = math.atanh(0.5)
    below = [0.5 * math.erfc(-(z - m) / s / math.sqrt(2)) for m, s in ((0.0, 0.2), (0.4, 0.1))]
    expected = 1 - (below[0] ** 50 + below[1] ** 50) / 2
    assert model.false_positive_rate(0.5, 50) == pytest.approx(expected, rel=1e-9)


def test_table_threshold_between_and_beyond_entries_is_straight_on_fishers_scale():
    table = {"max_fpirs": [0.1, 0.01], "gallery_sizes": [1, 100], "thresholds": [[0.3, 0.6], [0.5, 0.7]]}
    assert table_threshold(table, 0.01, 100) == pytest.approx(0.7)
    half_way = math.tanh((math.atanh(0.3) + math.atanh(0.6)) / 2)
    assert table_threshold(table, 0.1, 10) == pytest.approx(half_way)
    assert table_threshold(table, 0.1, 10_000) == pytest.approx(math.tanh(2 * math.atanh(0.6) - math.atanh(0.3)))
