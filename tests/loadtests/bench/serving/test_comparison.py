"""What a comparison of servers makes of its loads."""

import json
import os
import sys
from pathlib import Path

import pytest

from loadtests.bench.serving.comparison.placement import Placement, on_cores, placement, read_cores
from loadtests.bench.serving.comparison.rows import Measured, beside_others, rows_of, scaling_rows
from loadtests.bench.serving.comparison.turns import OURS, Best, StageCpu, Turn, stage_cpu_s
from loadtests.bench.serving.contestants import Contestant
from loadtests.bench.serving.inputs import Workload
from loadtests.bench.serving.load import Load
from loadtests.bench.serving.plain_handler import CHEAPEST, FLOAT, graphs_of
from loadtests.bench.serving.raw_graph import Cost, Setting

PHRASES = Workload("phrase", "voice", "clips", ())
# requests a second, and milliseconds of one client, of each turn
SPEEDS = {
    (OURS, FLOAT): ([200, 100], [10, 20]),
    ("plain", FLOAT): ([180, 60], [8, 16]),
    ("litserve", FLOAT): ([160, 100], [12, 24]),
    (OURS, CHEAPEST): ([300, 210], [6, 12]),
    ("plain", CHEAPEST): ([240, 150], [7, 14]),
    ("litserve", CHEAPEST): ([100, 100], [5, 10]),
}


def load(count: int, latency_ms: float = 10.0, server_cpu_s: float = 1.0) -> Load:
    return Load([latency_ms / 1e3] * count, [2] * count, {}, 1.0, 0.5, server_cpu_s, 0.0)


def found(cores: int = 2, factor: int = 1, graphs: tuple[str, ...] = (FLOAT, CHEAPEST)) -> Measured:
    turns = []
    for number in range(2):
        turn = Turn(0.001)
        for (name, graph), (rates, waits_ms) in SPEEDS.items():
            if graph in graphs:
                turn.many[name, graph] = load(factor * rates[number])
                turn.one[name, graph] = load(10, waits_ms[number])
        turn.raw = {graph: Cost(0.002, 500.0) for graph in graphs}
        turn.stages = {graph: StageCpu(0.0005, 0.004) for graph in graphs}
        turns.append(turn)
    best = {who: Best(Contestant(who[0], "for many", ()), Contestant(who[0], "for one", ())) for who in SPEEDS}
    return Measured(
        Placement(frozenset(range(cores)), frozenset({9})), best, dict.fromkeys(graphs, Setting(6, 1, 2)), turns
    )


@pytest.mark.parametrize(
    ("cores", "usable", "servers", "client"),
    [
        (1, {0}, {0}, {0}),
        (1, {3, 5}, {3}, {5}),
        (2, {7, 1, 4, 2}, {1, 2}, {7}),
        (4, {0, 1, 2, 3}, {0, 1, 2, 3}, {0, 1, 2, 3}),
    ],
)
def test_placement_gives_the_client_a_core_of_its_own_where_one_is_to_spare(cores, usable, servers, client):
    assert placement(cores, usable) == Placement(frozenset(servers), frozenset(client))


@pytest.mark.parametrize("text", ["0", "1,5", "-1"])
def test_read_cores_of_a_number_that_the_machine_lacks_is_refused(text: str):
    with pytest.raises(ValueError, match="1 to 4"):
        read_cores(text, 4)


@pytest.mark.skipif(sys.platform != "linux", reason="affinity is Linux'")
def test_on_cores_keeps_the_thread_there_and_gives_all_back():
    before = os.sched_getaffinity(0)
    with on_cores({min(before)}):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


def test_beside_others_on_one_graph_takes_the_other_with_the_higher_median_rate_and_the_sooner_one():
    rows = {row.id: row for row in beside_others(PHRASES, found(), CHEAPEST, CHEAPEST)}
    rate = rows["serving/phrase/2/32/rate/8-bit"]
    assert (rate.ours, rate.reference) == (255.0, 195.0)
    assert rate.ratio == (300 / 240 + 210 / 150) / 2
    assert (rate.target, rate.met) == (">= 1.1", True)
    assert "plain, for many" in rate.note
    one = rows["serving/phrase/2/1/p50/8-bit"]
    assert one.ratio == pytest.approx(6 / 5)
    assert "litserve, for one" in one.note
    assert one.met is False


def test_beside_others_on_two_graphs_has_the_target_of_the_workload_and_none_on_one_core():
    row = beside_others(PHRASES, found(), CHEAPEST, FLOAT)[0]
    # litserve's median of 130 beats plain's of 120
    assert (row.id, row.ratio, row.target) == (
        "serving/phrase/2/32/rate/8-bit-beside-float",
        (300 / 160 + 2.1) / 2,
        ">= 1.5",
    )
    assert beside_others(PHRASES, found(1), CHEAPEST, FLOAT)[0].target is None


def test_rows_of_all_cores_have_ids_of_their_own():
    rows = [row for cores in (1, 2, 4) for row in rows_of(PHRASES, found(cores))]
    ids = [row.id for row in rows]
    assert len(set(ids)) == len(ids)
    assert all(f"{cores} core(s)" in row.what for cores in (1, 2) for row in rows if f"/{cores}/cpu/" in row.id)
    cpu = {row.id: row for row in rows}["serving/phrase/2/cpu/float/inference"]
    assert cpu.ours == pytest.approx(((1 / 200 + 1 / 100) / 2 - 0.0005) * 1e3)
    assert cpu.reference == pytest.approx(0.002 * 2 * 1e3)


def test_rows_of_a_cpu_without_the_cheap_graph_compare_the_float_one_alone():
    ids = [row.id for row in rows_of(PHRASES, found(graphs=(FLOAT,)))]
    assert ids
    assert not any("8-bit" in row_id for row_id in ids)


def test_scaling_is_the_rate_on_most_cores_beside_that_on_the_least():
    rows = scaling_rows(PHRASES, {1: found(1), 2: found(2, 2), 4: found(4, 4)})
    assert [(row.id, row.ratio, row.target, row.met) for row in rows] == [
        ("serving/phrase/scaling/float", 4.0, ">= 3.5", True),
        ("serving/phrase/scaling/8-bit", 4.0, ">= 3.5", True),
    ]
    assert scaling_rows(PHRASES, {4: found(4)}) == []


def test_stage_cpu_is_what_grew_for_each_sample_that_was_decoded():
    def labels(stage: str) -> str:
        return f'{{model="voice",stage="{stage}"}}'

    cpu, count = "matchka_stage_cpu_seconds_total", "matchka_stage_seconds_count"
    before = {cpu + labels("decode"): 1.0, cpu + labels("prepare"): 2.0, count + labels("decode"): 10.0}
    after = {cpu + labels("decode"): 3.0, cpu + labels("prepare"): 2.5, count + labels("decode"): 15.0}
    assert stage_cpu_s(before, after, "voice", ("decode", "prepare")) == 0.5


def test_graphs_of_a_bundle_lists_a_variant_only_where_the_cpu_suits(tmp_path: Path):
    variants = {"a.onnx": {"cpu_features": ["no such feature"]}}
    (tmp_path / "manifest.json").write_text(json.dumps({"variants": variants}))
    assert graphs_of(tmp_path) == {FLOAT: "model.onnx"}
    (tmp_path / "manifest.json").write_text(json.dumps({"variants": {**variants, "b.onnx": {"cpu_features": []}}}))
    assert graphs_of(tmp_path) == {FLOAT: "model.onnx", CHEAPEST: "b.onnx"}
    (tmp_path / "manifest.json").write_text("{}")
    assert graphs_of(tmp_path) == {FLOAT: "model.onnx"}
