"""The table of scenarios, their phases, and the command line's changes."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable

import pytest

from loadtests.scenarios.options import add_options, chosen_scenario, given_keys
from loadtests.scenarios.scenario import Phase, Scenario
from loadtests.scenarios.table import SCENARIOS


def parsed(*words: str) -> Namespace:
    parser = ArgumentParser()
    add_options(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("name", SCENARIOS)
def test_phases_of_every_scenario_are_the_whole_run_and_begin_with_load_one(name: str):
    phases = SCENARIOS[name].phases
    assert sum(phase.share for phase in phases) == pytest.approx(1)
    assert phases[0].load == 1  # what other phases are compared with
    assert len({phase.name for phase in phases}) == len(phases)


STEPS = Scenario("x", "", (), (Phase("one", 0.25), Phase("two", 0.5, 3.0), Phase("three", 0.25)))


def begun(seconds: Iterable[float]) -> list[str | None]:
    """The phases of 40 s, looked at in these moments."""
    phase, names = None, []
    for second in seconds:
        phase = STEPS.next_phase(phase, second, 40)
        names.append(phase.name if phase else None)
    return names


def test_phase_of_each_moment_is_the_one_of_its_share():
    assert begun(range(41)) == ["one"] * 10 + ["two"] * 20 + ["three"] * 10 + [None]


def test_phase_whose_time_passes_unseen_is_begun_before_the_next():
    assert begun([0, 35, 36, 50]) == ["one", "two", "three", None]
    assert begun([41, 42, 43, 44]) == ["one", "two", "three", None]


def test_scenario_that_is_not_there_is_refused_with_those_that_are(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as refused:
        parsed("--scenario", "hammer")
    assert refused.value.code == 2
    said = capsys.readouterr().err
    assert all(name in said for name in SCENARIOS)


def test_bounds_of_the_command_line_replace_those_of_every_phase_and_leave_the_others():
    changed = chosen_scenario(parsed("--scenario", "spike", "--max-p99-ms", "250", "--max-rejected", "0.5"))
    assert [phase.bounds.p99_ms for phase in changed.phases] == [250.0] * 3
    assert [phase.bounds.rejected for phase in changed.phases] == [0.5] * 3
    before = SCENARIOS["spike"].phases
    assert [phase.bounds.p50_ratio for phase in changed.phases] == [phase.bounds.p50_ratio for phase in before]
    assert chosen_scenario(parsed("--scenario", "spike")) == SCENARIOS["spike"]


def test_gallery_and_keys_are_those_of_the_command_line():
    options = parsed("--scenario", "identify", "--gallery", "7", "--keys", "mk_a,mk_b")
    assert chosen_scenario(options).gallery == 7
    assert given_keys(options) == ("mk_a", "mk_b")
    assert given_keys(parsed("--keys", "")) == ()
