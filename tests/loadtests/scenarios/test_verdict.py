"""Bounds against counts that were made by hand."""

import math
from dataclasses import replace

import pytest

from loadtests.scenarios.scenario import Bounds, Phase, Scenario
from loadtests.scenarios.verdict import FEWEST, Counted, Finding, Row, judge

BOUNDS = Bounds(failures=0.1, rejected=0.2, p50_ratio=2.0, p95_ratio=4.0, p99_ratio=None, p99_ms=900.0)
SCENARIO = Scenario("x", "", (), (Phase("calm", 0.5, bounds=BOUNDS), Phase("busy", 0.5, 3.0, BOUNDS)))
CALM = Counted(100, 0, {"p50": 50.0, "p95": 100.0, "p99": 200.0})


def judged(**counted: Counted) -> dict[tuple[str, str], Finding]:
    """By phase and quantity; `calm` is CALM where it is not given."""
    rows = {
        Row(phase.removesuffix("_rejected"), "a", phase.endswith("_rejected")): one for phase, one in counted.items()
    }
    found = judge(SCENARIO, {Row("calm", "a"): CALM, **rows})
    return {(finding.phase, finding.what): finding for finding in found}


def test_ratios_are_of_the_first_phase_times_the_load():
    found = judged(busy=Counted(100, 0, {"p50": 240.0, "p95": 450.0, "p99": 800.0}))
    p50, p95 = (found["busy", f"a: {name} over p50 of the first phase"] for name in ("p50", "p95"))
    assert (p50.value, p95.value) == (240 / 150, 450 / 150)
    assert found["busy", "a: p99 in ms"].value == 800
    assert ("busy", "a: p99 over p50 of the first phase") not in found  # has no bound
    assert found["calm", "a: p95 over p50 of the first phase"].value == 2
    assert all(finding.is_kept for finding in found.values())


@pytest.mark.parametrize(
    ("busy", "broken"),
    [
        (Counted(100, 11, CALM.ms), "share of failures"),
        (Counted(100, 0, CALM.ms | {"p50": 301.0}), "a: p50 over p50 of the first phase"),
        (Counted(100, 0, CALM.ms | {"p95": 601.0}), "a: p95 over p50 of the first phase"),
        (Counted(100, 0, CALM.ms | {"p99": 901.0}), "a: p99 in ms"),
    ],
)
def test_bound_that_is_passed_is_the_only_one_named(busy: Counted, broken: str):
    found = judged(busy=busy)
    assert [key for key, finding in found.items() if not finding.is_kept] == [("busy", broken)]


def test_rejections_are_a_share_of_their_own_and_no_failures():
    found = judged(busy=Counted(70, 0, CALM.ms), busy_rejected=Counted(30, 0, {"p50": 1.0, "p95": 1.0, "p99": 1.0}))
    assert found["busy", "share of rejections"].value == 0.3
    assert found["busy", "share of failures"].value == 0
    assert [key for key, finding in found.items() if not finding.is_kept] == [("busy", "share of rejections")]


def test_too_few_answers_say_nothing_of_percentiles():
    slow = Counted(FEWEST - 1, 0, {"p50": 9e9, "p95": 9e9, "p99": 9e9})
    told = [finding for (_, what), finding in judged(busy=slow).items() if finding.phase == "busy" and "p" in what[:4]]
    assert told
    assert all(math.isnan(finding.value) and finding.is_kept for finding in told)
    assert told[0].as_json()["value"] is None


def test_call_that_the_first_phase_lacks_has_no_ratio():
    found = judge(SCENARIO, {Row("busy", "b"): CALM})
    assert all(math.isnan(finding.value) for finding in found if finding.what.startswith("b: "))


def test_run_without_an_answer_is_not_passed():
    assert [one.what for one in judge(SCENARIO, {}) if not one.is_kept] == ["runs without a single answer"]
    only_failures = {Row("calm", "a"): replace(CALM, failures=100)}
    assert "runs without a single answer" in [one.what for one in judge(SCENARIO, only_failures) if not one.is_kept]


@pytest.mark.parametrize("row", [Row("calm", "verify voice+face"), Row("busy", "challenge", True)])
def test_row_is_found_again_by_its_name(row: Row):
    assert Row.named(row.name) == row
