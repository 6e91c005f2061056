"""The table by which the batching policy is chosen."""

from loadtests.bench.graphs.batch_sizes import REFERENCE_ROWS, Line, lines_of, settings_of
from loadtests.bench.serving.raw_graph import Cost, Setting
from matchka.inference.batch_policy import CPU_ROWS


def test_settings_begin_with_those_of_the_policy_and_have_each_once():
    for cores in (1, 2, 4):
        settings = settings_of(cores)
        assert settings[0] == Setting(CPU_ROWS, 1, cores)
        assert len(set(settings)) == len(settings)
        assert all(one.threads * one.streams <= max(cores, 2) for one in settings)
    assert REFERENCE_ROWS == CPU_ROWS


def test_lines_are_medians_of_ratios_within_a_pass_and_not_ratios_of_medians():
    first, second = Setting(6, 1, 2), Setting(1, 1, 2)
    passes = [
        {first: Cost(0.001, 100.0, 0.03), second: Cost(0.002, 40.0, 0.02)},
        {first: Cost(0.004, 20.0, 0.05), second: Cost(0.004, 20.0, 0.01)},
        {first: Cost(0.002, 50.0, 0.04), second: Cost(0.006, 10.0, 0.03)},
    ]
    assert lines_of(passes) == [Line(first, 2.0, 1.0, 1.0, 30.0), Line(second, 4.0, 2.0, 0.4, 10.0)]
