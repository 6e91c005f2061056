"""What the stages of requests took, and what Prometheus reads of it."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.parser import text_string_to_metric_families

from matchka.api.telemetry import Telemetry
from matchka.runtime.stage_timer import STAGE_BUCKETS_S, StageTimes


def test_add_counts_each_occurrence_in_the_first_bucket_that_holds_it():
    times = StageTimes()
    for seconds in (0.00005, 0.0003, 0.00031, 99.0):
        times.add("run", seconds, cpu_seconds=0.5)
    reading = times.readings()["run"]
    expected = [0] * (len(STAGE_BUCKETS_S) + 1)
    for seconds in (0.00005, 0.0003, 0.00031, 99.0):
        expected[sum(edge < seconds for edge in STAGE_BUCKETS_S)] += 1
    assert reading.counts == expected
    assert reading.counts[-1] == 1
    assert reading.seconds == pytest.approx(99.00066)
    assert reading.cpu_seconds == 2.0


def test_readings_are_a_copy_and_a_stage_that_never_ran_is_left_out():
    times = StageTimes()
    times.add("decode", 1.0)
    before = times.readings()
    times.add("decode", 1.0)
    assert set(before) == {"decode"}
    assert sum(before["decode"].counts) == 1


def test_timed_tells_cpu_time_from_waiting_and_counts_a_block_that_raises():
    times = StageTimes()
    with times.timed("store"):
        time.sleep(0.02)
    with pytest.raises(ZeroDivisionError), times.timed("store"):
        _ = 1 / 0
    reading = times.readings()["store"]
    assert sum(reading.counts) == 2
    assert reading.seconds >= 0.02
    assert 0 < reading.cpu_seconds < reading.seconds


def test_add_from_several_threads_loses_nothing():
    times = StageTimes()
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda _: [times.add("search", 0.001, 0.25) for _ in range(500)], range(8)):
            pass
    reading = times.readings()["search"]
    assert (sum(reading.counts), reading.cpu_seconds) == (4000, 1000.0)


def test_stages_are_exposed_as_cumulative_buckets_and_cpu_seconds():
    times, telemetry = StageTimes(), Telemetry()
    telemetry.watch_stages(lambda: {"voice": times.readings()})
    for seconds in (0.002, 0.02, 20.0):
        times.add("decode", seconds, seconds / 2)
    found = {
        (sample.name, sample.labels.get("le")): sample.value
        for family in text_string_to_metric_families(telemetry.exposition().decode())
        for sample in family.samples
        if sample.labels.get("stage") == "decode" and sample.labels["model"] == "voice"
    }
    for edge in STAGE_BUCKETS_S:
        assert found["matchka_stage_seconds_bucket", str(edge)] == sum(s <= edge for s in (0.002, 0.02, 20.0))
    assert found["matchka_stage_seconds_bucket", "+Inf"] == found["matchka_stage_seconds_count", None] == 3
    assert found["matchka_stage_seconds_sum", None] == pytest.approx(20.022)
    assert found["matchka_stage_cpu_seconds_total", None] == pytest.approx(10.011)
