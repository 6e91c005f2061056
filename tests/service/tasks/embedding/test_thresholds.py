"""Thresholds by an independent bisection of the normal distribution, and the arithmetic of rates."""

import math
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matchka.bundles.outputs.measurements import DimReport
from matchka.errors import InvalidFieldError
from matchka.tasks.embedding.thresholds import (
    decide,
    fmr_for_fpir,
    identification_threshold,
    probability_of,
    threshold_at,
)
from tests.factories.bundles import CALIBRATION, POINTS, dim_report


def report(points: dict[str, list[tuple[float, float, bool]]] = POINTS, calibrated: bool = True) -> DimReport:
    made = dim_report()
    made["operating_points"] = {
        count: [{"fmr": fmr, "threshold": threshold, "measured": measured} for fmr, threshold, measured in own]
        for count, own in points.items()
    }
    return DimReport.model_validate({**made, "calibration": made["calibration"] if calibrated else {}})


def normal_quantile(fmr: float) -> float:
    """The x with 1 - Phi(x) = fmr, by bisection of the complementary error function."""
    low, high = -40.0, 40.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erfc(middle / math.sqrt(2)) / 2 > fmr else (low, middle)
    return low


def slow_threshold(points: list[tuple[float, float, bool]], fmr: float) -> float:
    """A straight line of Fisher's z through two points on the scale of normal quantiles."""
    x = normal_quantile(fmr)
    xs = [normal_quantile(rate) for rate, _, _ in points]
    right = next((i for i in range(1, len(xs)) if x <= xs[i]), len(xs) - 1)
    (x0, x1), (t0, t1) = xs[right - 1 : right + 1], (points[right - 1][1], points[right][1])
    z0, z1 = (0.5 * math.log((1 + t) / (1 - t)) for t in (t0, t1))
    z = z0 + (z1 - z0) * (x - x0) / (x1 - x0)
    return (math.exp(2 * z) - 1) / (math.exp(2 * z) + 1)


@pytest.mark.parametrize("fmr", [0.9, 0.5, 0.11, 0.1, 0.0316, 0.01, 0.009, 0.005, 0.001, 1e-4, 1e-7, 1e-12])
@pytest.mark.parametrize("count", [1, 3])
def test_threshold_at_any_rate_lies_on_the_line_through_its_neighbours(fmr: float, count: int):
    assert threshold_at(report(), count, fmr).value == pytest.approx(slow_threshold(POINTS[str(count)], fmr), abs=1e-9)


@given(st.floats(1e-9, 0.999), st.floats(1e-9, 0.999))
def test_threshold_at_a_lower_rate_is_never_lower(a: float, b: float):
    low, high = sorted((a, b))
    assert threshold_at(report(), 1, low).value >= threshold_at(report(), 1, high).value


@pytest.mark.parametrize(
    ("count", "used"), [(1, "1"), (2, "3"), (3, "3"), (4, "10"), (10, "10"), (11, "10"), (500, "10")]
)
def test_threshold_at_a_count_between_keys_uses_the_next_larger(count: int, used: str):
    points = {**POINTS, "10": [(1e-1, 0.6, True), (1e-2, 0.9, True)]}
    (expected,) = [threshold for rate, threshold, _ in points[used] if rate == 1e-2]
    assert threshold_at(report(points), count, 1e-2).value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("fmr", "measured"),
    [
        (1e-1, True),
        (5e-2, True),
        (1e-2, True),
        (9.9e-3, False),
        (5e-3, False),
        (1e-3, False),
        (1e-4, False),
        (0.11, False),
        (0.5, False),
    ],
)
def test_threshold_at_is_measured_only_where_both_neighbours_were(fmr: float, measured: bool):
    assert threshold_at(report(), 1, fmr).measured is measured


@pytest.mark.parametrize(("fmr", "measured"), [(1e-2, True), (1e-3, False), (0.5, False)])
def test_threshold_at_with_a_single_point_is_that_one_and_measured_only_there(fmr: float, measured: bool):
    found = threshold_at(report({"1": [(1e-2, 0.7, True)]}), 1, fmr)
    assert (found.value, found.measured) == (0.7, measured)


@pytest.mark.parametrize("fmr", [0.0, 1.0, -0.1, 1.1, math.nan, math.inf])
def test_threshold_at_a_rate_that_is_none_is_refused(fmr: float):
    with pytest.raises(InvalidFieldError, match="between 0 and 1"):
        threshold_at(report(), 1, fmr)


@pytest.mark.parametrize("similarity", [-1.0, 0.0, 0.79, 0.8, 0.81, 1.0])
def test_decide_matches_from_the_threshold_on(similarity: float):
    decision = decide(report(), similarity, 1, 1e-2)
    assert decision.match is (similarity >= 0.8)
    assert decision.similarity == similarity
    assert decision.threshold.value == 0.8


@pytest.mark.parametrize("similarity", [-1.0, -0.3, 0.0, 0.75, 1.0])
@pytest.mark.parametrize(("count", "used"), [(1, "1"), (2, "3"), (3, "3"), (9, "3")])
def test_probability_of_is_the_logistic_function_of_the_calibrated_ratio(similarity: float, count: int, used: str):
    scale, offset = CALIBRATION[used]
    assert probability_of(report(), similarity, count) == pytest.approx(
        1 / (1 + math.exp(-(scale * similarity + offset))), rel=1e-12
    )


def test_probability_of_an_uncalibrated_bundle_is_none():
    assert probability_of(report(calibrated=False), 0.9, 1) is None


@pytest.mark.parametrize("size", [1, 2, 10, 1000, 10**6])
@pytest.mark.parametrize("fpir", [0.001, 0.01, 0.5])
def test_fmr_for_fpir_kept_over_the_whole_gallery_gives_the_fpir_back(size: int, fpir: float):
    fmr = fmr_for_fpir(fpir, size)
    # exact rational arithmetic where it is affordable, its logarithm beyond
    whole = 1 - (1 - Fraction(fmr)) ** size if size <= 10 else -math.expm1(size * math.log1p(-fmr))
    assert float(whole) == pytest.approx(fpir, rel=1e-9)


def test_fmr_for_fpir_of_larger_galleries_falls():
    rates = [fmr_for_fpir(0.01, size) for size in (1, 2, 5, 100, 10**6, 10**9)]
    assert all(a > b > 0 for a, b in pairwise(rates))


def test_fmr_for_fpir_of_an_empty_gallery_is_that_of_one_subject():
    assert fmr_for_fpir(0.02, 0) == pytest.approx(0.02, rel=1e-12)


@pytest.mark.parametrize("fpir", [0.0, 1.0, -0.1, 2.0, math.nan])
def test_fmr_for_fpir_of_a_rate_that_is_none_is_refused(fpir: float):
    with pytest.raises(InvalidFieldError, match="between 0 and 1"):
        fmr_for_fpir(fpir, 10)


TABLE = {
    "max_fpirs": [0.1, 0.01],
    "gallery_sizes": [1, 100, 10_000],
    "thresholds": [[0.3, 0.6, 0.8], [0.5, 0.7, 0.9]],
}


def report_with_table(
    points: dict[str, list[tuple[float, float, bool]]], counts: tuple[str, ...] = ("1",)
) -> DimReport:
    made = report(points).model_dump()
    return DimReport.model_validate({**made, "identification": dict.fromkeys(counts, TABLE)})


LOW_POINTS = {"1": [(0.5, -0.9, True), (1e-9, -0.8, False)]}


@pytest.mark.parametrize(
    ("max_fpir", "size", "expected_z"),
    [
        (0.1, 1, math.atanh(0.3)),
        (0.1, 0, math.atanh(0.3)),  # an empty gallery counts as one
        (0.01, 10_000, math.atanh(0.9)),
        (0.1, 10, (math.atanh(0.3) + math.atanh(0.6)) / 2),  # half way in the logarithm of the size
        (0.01, 1_000_000, 2 * math.atanh(0.9) - math.atanh(0.7)),  # the last slope goes on
    ],
)
def test_identification_threshold_between_entries_is_straight_on_fishers_scale(
    max_fpir: float, size: int, expected_z: float
):
    found = identification_threshold(report_with_table(LOW_POINTS), 1, max_fpir, size)
    assert found.value == pytest.approx(math.tanh(expected_z), abs=1e-9)
    assert not found.measured


def test_identification_threshold_between_rates_is_straight_in_the_normal_quantile():
    share = (normal_quantile(0.03) - normal_quantile(0.1)) / (normal_quantile(0.01) - normal_quantile(0.1))
    expected = math.tanh(math.atanh(0.6) + share * (math.atanh(0.7) - math.atanh(0.6)))
    found = identification_threshold(report_with_table(LOW_POINTS), 1, 0.03, 100).value
    assert found == pytest.approx(expected, abs=1e-9)


def test_identification_threshold_when_pairs_ask_for_more_takes_theirs():
    strict = {"1": [(0.5, 0.95, True), (0.1, 0.96, True)]}
    found = identification_threshold(report_with_table(strict), 1, 0.1, 1)
    assert found.value == pytest.approx(0.96)
    assert found.measured


def test_identification_threshold_without_table_follows_the_pairs():
    expected = threshold_at(report(), 3, 1 - (1 - 0.01) ** (1 / 50))
    assert identification_threshold(report(), 3, 0.01, 50).value == pytest.approx(expected.value, abs=1e-9)


def test_identification_threshold_with_more_templates_than_tables_takes_the_largest_table():
    some = report_with_table(LOW_POINTS, ("1", "3"))
    assert identification_threshold(some, 10, 0.01, 100).value == pytest.approx(0.7)


@given(st.floats(1e-6, 0.5), st.integers(1, 10**8), st.integers(1, 10**8))
def test_identification_threshold_never_falls_as_the_gallery_grows(max_fpir: float, a: int, b: int):
    small, large = sorted((a, b))
    some = report_with_table(LOW_POINTS)
    one, other = (identification_threshold(some, 1, max_fpir, size).value for size in (small, large))
    assert one <= other + 1e-12


@pytest.mark.parametrize(
    "change",
    [
        {"max_fpirs": [0.01, 0.1]},
        {"gallery_sizes": [100, 1, 10_000]},
        {"thresholds": [[0.3, 0.6, 0.8]]},
        {"thresholds": [[0.3, 0.6, 0.8], [0.5, 0.7]]},
        {"thresholds": [[0.3, 0.6, 0.5], [0.5, 0.7, 0.9]]},
        {"thresholds": [[0.6, 0.7, 0.8], [0.5, 0.7, 0.9]]},
    ],
)
def test_dim_report_when_its_gallery_table_is_not_one_refuses(change: dict[str, object]):
    with pytest.raises(ValueError, match="must"):
        DimReport.model_validate({**report().model_dump(), "identification": {"1": {**TABLE, **change}}})
