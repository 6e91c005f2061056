"""The rule by itself: bounds against sorted draws, margins, and what decides nothing."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from matchka_export.gate.non_inferiority import Row, Rule, floor, judge_row, judge_rows, order_bound
from matchka_train.metrics.bootstrap import DrawnRate

Rates = npt.NDArray[np.float64]
DRAWS = 500


def drawn(rate: float, spread: float = 0.0, seed: int = 0) -> DrawnRate:
    return DrawnRate(rate, rate + spread * np.random.default_rng(seed).standard_normal(DRAWS))


def row(rate: DrawnRate, reference: DrawnRate, units: int = 50, trials: int = 300) -> Row:
    return Row("subject", units, trials, rate, "another", reference)


def test_judge_row_when_rates_vary_bounds_the_difference_as_sorting_the_draws_does() -> None:
    rate, reference = drawn(0.05, 0.004, seed=1), drawn(0.06, 0.003, seed=2)
    found = judge_row(row(rate, reference))
    rising = sorted(a - b for a, b in zip(rate.draws, reference.draws, strict=True))
    place = 0.95 * (DRAWS - 1)
    below, share = int(place), place - int(place)
    assert found.upper == pytest.approx(rising[below] + share * (rising[below + 1] - rising[below]))
    assert found.margin == pytest.approx(0.009)
    assert found.verdict == "passed"


@pytest.mark.parametrize(
    ("rate", "reference", "verdict"),
    [
        (0.0229, 0.02, "passed"),
        (0.0231, 0.02, "refused"),  # .3 points
        (0.114, 0.1, "passed"),
        (0.116, 0.1, "refused"),  # 15 %
        (0.0053, 0.0022, "refused"),  # .22 -> .53 %: 1 or 2 of 750 pairs, not significant for years
        (0.0, 0.0, "passed"),
        (0.41, 0.45, "refused"),  # better than its reference, and as good as guessing
    ],
)
def test_judge_row_when_nothing_varies_compares_the_difference_with_the_margin(
    rate: float, reference: float, verdict: str
) -> None:
    assert judge_row(row(drawn(rate), drawn(reference))).verdict == verdict


def test_judge_row_when_draws_lie_below_what_was_measured_goes_by_what_was_measured() -> None:
    lucky = DrawnRate(0.0053, np.full(DRAWS, 0.0022))
    found = judge_row(row(lucky, drawn(0.0022)))
    assert found.upper == pytest.approx(0.0031)
    assert found.verdict == "refused"


@pytest.mark.parametrize(("units", "trials"), [(49, 10_000), (10_000, 299), (3, 12)])
def test_judge_row_when_too_little_was_measured_decides_nothing_however_good(units: int, trials: int) -> None:
    assert judge_row(row(drawn(0.0), drawn(0.3), units, trials)).verdict == "undecidable"


@pytest.mark.parametrize(
    ("rate", "reference"),
    [
        (DrawnRate(np.nan, np.zeros(DRAWS)), drawn(0.1)),
        (drawn(0.01), DrawnRate(np.nan, np.zeros(DRAWS))),
        (DrawnRate(0.01, np.append(np.zeros(DRAWS - 1), np.nan)), drawn(0.1)),
    ],
)
def test_judge_row_when_anything_is_not_a_number_refuses(rate: DrawnRate, reference: DrawnRate) -> None:
    assert judge_row(row(rate, reference)).verdict == "refused"


def test_judge_rows_when_the_reference_is_a_floor_judges_each_stratum_by_its_own_unit() -> None:
    """Another task: errors by contributor, per number of words, beside what guessing reaches."""
    rates = {"1 word": drawn(0.30, 0.01, seed=3), "3 words": drawn(0.12, 0.01, seed=4)}
    rows = {
        words: dataclasses.replace(row(rate, floor(0.25, rate)), unit="contributor", reference="guessing")
        for words, rate in rates.items()
    }
    found = judge_rows(rows, Rule(margin=0.01, relative_margin=0.0))
    assert {words: judged.verdict for words, judged in found.items()} == {"1 word": "refused", "3 words": "passed"}


def test_order_bound_when_longer_is_clearly_worse_is_above_nothing() -> None:
    assert order_bound(drawn(0.05), drawn(0.04)) == pytest.approx(0.01)
    assert order_bound(drawn(0.05, 0.01, seed=1), drawn(0.0499, 0.01, seed=2)) < 0
