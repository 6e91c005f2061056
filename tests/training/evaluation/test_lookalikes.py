"""Somebody under two names is found by the backbone; people who are two are not, however many there are."""

import math
from dataclasses import replace

import numpy as np
import pytest

from matchka_train.errors import LookalikeError
from matchka_train.evaluation.lookalikes import find_lookalikes, require_no_lookalikes, same_person_level
from matchka_train.features.features import Features
from tests.factories.features import make_features

DIM = 32


def people(identities: int, clips: int = 8, seed: int = 0, domain: str = "a") -> Features:
    return make_features(identities, clips, DIM, domain, seed, windows=1, spread=0.3)


def renamed(features: Features, prefix: str) -> Features:
    return replace(features, subjects=tuple(f"{prefix}/{name.split('/')[1]}" for name in features.subjects))


def split_clips(features: Features, who: str) -> tuple[Features, Features]:
    """The first half of somebody's clips, and all others."""
    own = np.flatnonzero(np.asarray(features.subjects) == who)
    first = np.isin(np.arange(len(features.subjects)), own[: len(own) // 2])
    return features.select(first), features.select(~first)


def log_student(value: float, values: list[float], people: int) -> float:
    """The predictive density of the next value, with the gamma function."""
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
    degrees, scale = people - 1, deviation * math.sqrt((people + 1) / (people - 1))
    standard = (value - mean) / scale
    return (
        math.lgamma((degrees + 1) / 2)
        - math.lgamma(degrees / 2)
        - 0.5 * math.log(degrees * math.pi)
        - math.log(scale)
        - (degrees + 1) / 2 * math.log(1 + standard**2 / degrees)
    )


@pytest.mark.parametrize("pairs", [1, 1_000])
def test_level_is_where_the_ratio_of_two_students_reaches_the_number_of_pairs(pairs):
    generator = np.random.default_rng(0)
    mated, other = (np.tanh(generator.normal(mean, 0.15, 60)).astype(np.float32) for mean in (1.2, 0.2))
    level = same_person_level(mated, other, 25, pairs)
    one, two = ([math.atanh(value) for value in values.tolist()] for values in (mated, other))
    odds = [
        log_student(math.atanh(level + d), one, 25) - log_student(math.atanh(level + d), two, 25) for d in (-2e-3, 0)
    ]
    assert odds[0] < math.log(pairs) <= odds[1]


def test_level_when_nothing_tells_people_apart_or_there_is_one_person_is_out_of_reach():
    same = np.linspace(-0.5, 0.5, 50, dtype=np.float32)
    assert same_person_level(same, same, 20, 1_000) == math.inf
    assert same_person_level(same[:1], same[:0], 1, 10) == math.inf


def test_find_lookalikes_when_everybody_is_somebody_else_finds_nobody():
    train, validation = renamed(people(60), "train"), renamed(people(40, seed=1), "dev")
    assert find_lookalikes([train], [validation]) == []


def test_find_lookalikes_when_somebody_is_in_both_under_two_names_finds_exactly_that_pair():
    everybody = people(100)
    in_training = np.array([int(name.split("/")[1]) < 60 for name in everybody.subjects])
    train, validation = everybody.select(in_training), everybody.select(~in_training)
    moved, train = split_clips(train, "a/007")
    found = find_lookalikes([train, people(20, seed=5, domain="b")], [validation, renamed(moved, "new")])
    assert [(pair.trained, pair.validated) for pair in found] == [("a/007", "new/007")]
    assert found[0].similarity > found[0].level


def test_require_no_lookalikes_names_the_pair_until_somebody_confirms_it():
    everybody = people(100)
    in_training = np.array([int(name.split("/")[1]) < 60 for name in everybody.subjects])
    moved, train = split_clips(everybody.select(in_training), "a/007")
    judged = [everybody.select(~in_training), renamed(moved, "new")]
    with pytest.raises(LookalikeError, match=r"1 pairs .*a/007 and new/007 \(0\.\d+, likely from 0\.\d+\)") as refused:
        require_no_lookalikes([train], judged, lambda _one, _other: False)
    assert "confirmed_lookalikes" in refused.value.remedy
    require_no_lookalikes([train], judged, lambda one, other: {one, other} == {"a/007", "new/007"})


def test_find_lookalikes_when_nobody_has_two_samples_has_no_level():
    assert find_lookalikes([people(5)], [people(5, clips=1, seed=1)]) == []
