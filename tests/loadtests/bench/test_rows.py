"""The bench's rows and the table that is made of them."""

import json
import statistics
from pathlib import Path

import pytest

from loadtests.bench import rows, table


def test_compared_takes_the_median_of_the_paired_ratios_and_not_the_ratio_of_the_medians():
    ours, reference = [1.0, 5.0, 9.0], [1.0, 10.0, 3.0]
    row = rows.compared("a/b", "what", ours, reference, "ms", "note", "<= 0.9")
    assert (row.ours, row.reference) == (5.0, 3.0)
    assert row.ratio == statistics.median([1.0, 0.5, 3.0]) == 1.0
    assert row.spread == (0.5, 3.0)
    assert (row.target, row.met) == ("<= 0.9", False)


def test_alone_has_no_ratio_and_its_target_is_of_the_median():
    row = rows.alone("a", "what", [4.0, 1.0, 2.0], "s", "", ">= 2")
    assert (row.ours, row.reference, row.ratio, row.spread, row.met) == (2.0, None, None, (1.0, 4.0), True)
    assert rows.alone("a", "what", [4.0], "s", "").met is None


def test_a_target_that_is_no_bound_is_refused():
    with pytest.raises(ValueError, match="about 3"):
        rows.is_met(3.0, "about 3")


def test_rows_written_appended_and_read_are_the_same(tmp_path: Path):
    path = tmp_path / "new" / "group.jsonl"
    first, second = rows.alone("é", "x", [1.5, 2.5], "s", ""), rows.compared("b", "y", [1.0], [4.0], "ms", "n", ">= 2")
    rows.write_rows(path, [first])
    rows.append_rows(path, [second])
    assert rows.read_rows(path) == [first, second]
    assert [json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()] == ["é", "b"]
    rows.write_rows(path, [second])
    assert rows.read_rows(path) == [second]


@pytest.mark.parametrize("line", ['{"id": "a"}', '{"id": "a", "spread": [1, 2], "colour": "red"}'])
def test_a_line_that_is_no_row_is_refused(tmp_path: Path, line: str):
    path = tmp_path / "x.jsonl"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(ValueError, match="not a row"):
        rows.read_rows(path)


def test_collect_keeps_the_rows_of_groups_that_were_not_measured_again(tmp_path: Path):
    here = {"cpu": "a", "cores": 2}
    old = [
        {**json.loads(rows._line(rows.alone(i, "", [1.0], "s", ""))), "group": g, "date": "d"} for g, i in ("xX", "yY")
    ]
    (tmp_path / "bench.json").write_text(json.dumps({"machine": here, "rows": old}))
    rows.write_rows(tmp_path / "x.jsonl", [rows.alone("N", "", [2.0], "s", "")])
    found = table.collect(tmp_path, tmp_path / "bench.json", here)
    assert [(m.group, m.row.id, m.row.ours) for m in found] == [("x", "N", 2.0), ("y", "Y", 1.0)]
    elsewhere = table.collect(tmp_path, tmp_path / "bench.json", {"cpu": "b", "cores": 2})
    assert [m.row.id for m in elsewhere] == ["N"]


def test_collect_of_two_rows_with_one_id_is_refused(tmp_path: Path):
    for group in ("x", "y"):
        rows.write_rows(tmp_path / f"{group}.jsonl", [rows.alone("same", "", [2.0], "s", "")])
    with pytest.raises(ValueError, match="same"):
        table.collect(tmp_path, tmp_path / "none.json", {})


def test_filled_writes_only_between_its_marks_and_adds_what_has_none():
    here = {"cpu": "C", "cores": 2, "memory_gib": 4.0, "python": "3", "libraries": {"numpy": "9"}}
    page = "before\n<!-- machine -->\nold\n<!-- end -->\nkept\n<!-- rows: x -->\nold\n<!-- end -->\nafter\n"
    measured = [
        table.Measured("x", "2026-01-02", rows.compared("x/a", "A", [3.0], [2.0], "ms", "the note", "<= 1")),
        table.Measured("z", "2026-01-02", rows.alone("z/b", "B", [1234.5], "s", "")),
    ]
    found = table.filled(page, measured, here)
    assert found.startswith(
        "before\n<!-- machine -->\nC, 2 cores, 4.0 GiB of memory, Python 3; numpy 9.\n<!-- end -->\nkept\n"
    )
    assert "| A | 3.00 ms | 2.00 ms | **1.50** | 1.50 to 1.50 | <= 1 | **no** |" in found
    assert "- the note" in found
    assert "after\n" in found
    assert "old" not in found
    assert found.index("## z") > found.index("after")
    assert "| B | 1,234 s |" in found
    assert table.filled(found, measured, here) == found


def test_machine_names_the_cores_and_no_host():
    import os
    import platform

    here = table.machine()
    assert here["cores"] == len(os.sched_getaffinity(0))
    assert "onnxruntime" in here["libraries"]
    assert platform.node() not in json.dumps(here) or len(platform.node()) < 3
