"""What the stages of requests took, as Prometheus reads it."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from matchka.api.telemetry import Telemetry
from matchka.runtime.stage_timer import STAGE_BUCKETS_S, StageMetrics, StageTimes


def samples(exposition: bytes, model: str, stage: str) -> dict[tuple[str, str | None], float]:
    """Samples of one stage by name and bucket, read by Prometheus' own parser."""
    return {
        (sample.name, sample.labels.get("le")): sample.value
        for family in text_string_to_metric_families(exposition.decode())
        for sample in family.samples
        if sample.labels.get("stage") == stage and sample.labels["model"] == model
    }


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def times(registry: CollectorRegistry) -> StageTimes:
    return StageTimes(StageMetrics(registry), "voice")


def test_add_counts_each_occurrence_in_every_bucket_that_holds_it(registry: CollectorRegistry, times: StageTimes):
    took = (0.00005, 0.0003, 0.00031, 99.0)
    for seconds in took:
        times.add("run", seconds, cpu_seconds=0.5)
    found = samples(generate_latest(registry), "voice", "run")
    for edge in STAGE_BUCKETS_S:
        assert found["matchka_stage_seconds_bucket", str(edge)] == sum(seconds <= edge for seconds in took)
    assert found["matchka_stage_seconds_bucket", "+Inf"] == found["matchka_stage_seconds_count", None] == 4
    assert found["matchka_stage_seconds_sum", None] == pytest.approx(99.00066)
    assert found["matchka_stage_cpu_seconds_total", None] == 2.0


def test_stage_that_never_ran_is_left_out(registry: CollectorRegistry, times: StageTimes):
    times.add("decode", 1.0)
    assert samples(generate_latest(registry), "voice", "decode")
    assert not samples(generate_latest(registry), "voice", "run")


def test_timed_tells_cpu_time_from_waiting_and_counts_a_block_that_raises(
    registry: CollectorRegistry, times: StageTimes
):
    with times.timed("store"):
        time.sleep(0.02)
    with pytest.raises(ZeroDivisionError), times.timed("store"):
        _ = 1 / 0
    found = samples(generate_latest(registry), "voice", "store")
    assert found["matchka_stage_seconds_count", None] == 2
    assert found["matchka_stage_seconds_sum", None] >= 0.02
    assert 0 < found["matchka_stage_cpu_seconds_total", None] < found["matchka_stage_seconds_sum", None]


def test_add_from_several_threads_loses_nothing(registry: CollectorRegistry, times: StageTimes):
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda _: [times.add("search", 0.001, 0.25) for _ in range(500)], range(8)):
            pass
    found = samples(generate_latest(registry), "voice", "search")
    assert found["matchka_stage_seconds_count", None] == 4000
    assert found["matchka_stage_cpu_seconds_total", None] == 1000.0


def test_stages_of_two_models_and_of_two_applications_are_told_apart():
    first, second = Telemetry(), Telemetry()
    StageTimes(first.stages, "voice").add("decode", 0.25)
    StageTimes(first.stages, "face").add("decode", 0.5)
    sums = [
        samples(telemetry.exposition(), model, "decode").get(("matchka_stage_seconds_sum", None))
        for telemetry in (first, second)
        for model in ("voice", "face")
    ]
    assert sums == [0.25, 0.5, None, None]
