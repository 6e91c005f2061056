"""The table that a run of `task: enhancer` ends with."""

from matchka_train.evaluation.small_probes import ProbeAccuracy
from matchka_train.evaluation.validation import Accuracy
from matchka_train.run.enhancer.measured import ProbeReport
from matchka_train.run.enhancer.report import HEADER, probe_rows


def accuracy(eer: float, tar: float, paired: float) -> dict[int, ProbeAccuracy]:
    found = Accuracy(eer, 0.5, {"0.01": 0.9, "0.001": tar}, 5, 9, 30)
    return {8: ProbeAccuracy(found, paired, 0.5, 2e-3)}


def test_probe_rows_show_both_beside_each_other_in_per_cent() -> None:
    report = ProbeReport("news", "whole pictures", 16.0, 0.985, accuracy(0.1, 0.2, 0.9), accuracy(0.0814, 0.25, 0.95))
    header, row = probe_rows([report], 8)
    assert header == HEADER
    assert row == (
        *("news", "whole pictures", "16", "98.5", "10.00", "8.14", "0.200", "0.250"),
        *("0.900 -> 0.950", "0.500 -> 0.500"),
    )
