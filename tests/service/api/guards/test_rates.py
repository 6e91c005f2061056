"""Requests a second of one key, against a slow count of every second's worth."""

import random

import pytest

from matchka.api.guards.rates import RequestRates
from matchka.errors import TooManyRequestsError
from matchka.store.keys.records import Ceilings, Grant


def grant(rate: float | None, key_id: str | None = "k") -> Grant:
    return Grant("t", frozenset(), key_id, Ceilings(requests_per_s=rate))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def taken(rates: RequestRates, of: Grant, count: int) -> int:
    """How many of so many requests are let in."""
    return sum(is_let_in(rates, of) for _ in range(count))


def is_let_in(rates: RequestRates, of: Grant) -> bool:
    try:
        rates.take(of)
    except TooManyRequestsError:
        return False
    return True


@pytest.mark.parametrize(("rate", "at_once"), [(5.0, 5), (1.0, 1), (0.1, 1), (1000.0, 1000)])
def test_a_seconds_worth_comes_at_once_and_then_the_rate(rate: float, at_once: int):
    clock = Clock()
    rates = RequestRates(clock)
    assert taken(rates, grant(rate), at_once + 10) == at_once
    clock.now += 10.0
    assert taken(rates, grant(rate), 10 * at_once + 10) == at_once
    let_in = 0
    for _ in range(1000):
        clock.now += 0.1
        let_in += taken(rates, grant(rate), 200)
    assert let_in == pytest.approx(100 * rate, abs=1)


def test_any_requests_are_let_in_as_a_bucket_of_tokens_would():
    clock, generator, rate = Clock(), random.Random(3), 4.0
    rates = RequestRates(clock)
    tokens = rate
    for _ in range(5000):
        passed = generator.expovariate(5.0)
        clock.now += passed
        tokens = min(rate, tokens + passed * rate)
        expected = tokens >= 1 - 1e-6
        assert is_let_in(rates, grant(rate)) == expected
        tokens -= expected


def test_refusal_says_when_to_try_again():
    clock = Clock()
    rates = RequestRates(clock)
    assert taken(rates, grant(0.5), 1) == 1
    with pytest.raises(TooManyRequestsError) as refused:
        rates.take(grant(0.5))
    assert refused.value.retry_after_s == pytest.approx(2.0)
    clock.now += 2.0
    rates.take(grant(0.5))


def test_keys_do_not_share_and_one_without_a_ceiling_is_not_counted():
    rates = RequestRates(Clock())
    assert taken(rates, grant(1.0), 5) == 1
    assert taken(rates, grant(1.0, "other"), 5) == 1
    assert taken(rates, grant(None), 500) == 500
    assert taken(rates, grant(None, None), 500) == 500
