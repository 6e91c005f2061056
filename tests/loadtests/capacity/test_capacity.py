"""Arithmetic of capacity against sums by hand, and a page that keeps its text."""

from pathlib import Path

import pytest

from loadtests.capacity.cost import Demand, Unit, cost
from loadtests.capacity.figures import Figure, Figures, merged, read_figures, write_figures
from loadtests.capacity.page import PHRASES, Bench, filled

FIGURE = Figure(PHRASES, 4, 2, "float", 17.0, 225.0, 141.0, 32, "CPU, 4 cores, 8 GiB", "2026-01-02")


def test_cost_is_what_a_sum_by_hand_gives():
    # 10,000 a second of 9 ms are 90 busy cores; at 60 % 150; in groups of 4 cores 37.5, so 38
    found = cost(Demand(), Unit(cpu_ms=9.0, template_bytes=1152.0, record_bytes=2700.0, process_mib=180.0))
    assert (found.busy_cores, found.groups, found.cores) == (pytest.approx(90), 38, 152)
    of_group = 100e6 / 38
    assert found.templates_of_group == pytest.approx(of_group)
    replica_bytes = of_group * 1152 + 180 * 2**20
    assert found.replica_gib == pytest.approx(replica_bytes / 2**30)
    assert found.memory_gib == pytest.approx(2 * 38 * replica_bytes / 2**30)
    assert found.database_gib == pytest.approx(270e9 / 2**30)


def test_later_figures_replace_earlier_ones_of_the_same_key_and_are_read_again(tmp_path: Path):
    other = Figure(PHRASES, 1, 1, "auto", 8.0, None, None, 32, "CPU", "2026-01-01")
    newer = Figure(PHRASES, 4, 2, "float", 12.0, None, None, 32, "CPU", "2026-01-03")
    kept = merged(merged(Figures(), [FIGURE, other], 2700.0), [newer])
    assert kept == Figures((other, newer), 2700.0)
    write_figures(tmp_path / "capacity.json", kept)
    assert read_figures(tmp_path / "capacity.json") == kept
    assert read_figures(tmp_path / "none.json") == Figures()


def test_page_has_each_figure_with_its_machine_and_day_and_keeps_the_text_around():
    rows = {
        "serving/phrase/cpu/all": {"ours": 8.0},
        "one-request/phrase/store": {"ours": 0.5},
        "one-request/phrase/decide": {"ours": 0.5},
        "protected/phrase/vault-keys-and-audit-log/cpu": {"ours": 18.0, "ratio": 1.5},
        "memory.subject/1000000": {"ours": 1.125, "note": "less 200 MiB with nobody; drawn"},
        "start.store/1000000": {"ours": 5.5},
        "start.empty": {"ours": 1.2},
    }
    page = "# Title\n<!-- measured -->\nold\n<!-- end -->\nbetween\n<!-- cost -->\n<!-- end -->\nlast\n"
    text = filled(page, Figures((FIGURE,), 2700.0), Bench(rows))
    assert text.startswith("# Title\n")
    assert "\nbetween\n" in text
    assert text.endswith("last\n")
    assert "old" not in text
    assert f"| {PHRASES} | 4 | 2 | float | 225 | 56 | 17.0 | 141 |" in text
    assert "CPU, 4 cores, 8 GiB, 2026-01-02, 32 callers without pauses" in text
    # (17 + 0.5 + 0.5) * 1.5 = 27 ms; 270 busy cores; 450 at 60 %; 113 groups of four
    assert "| float | 27.0 | 270 | 452 | 113 | 884,956 |" in text
    assert "| float, cores of [performance.md](performance.md) | 13.5 | 135 | 228 | 57 | 1,754,386 |" in text
    assert filled(text, Figures((FIGURE,), 2700.0), Bench(rows)) == text
