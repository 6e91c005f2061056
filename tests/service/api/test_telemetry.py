"""What Prometheus reads."""

import asyncio
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from matchka.api.telemetry import RequestTimer, Telemetry
from matchka.inference.batcher import BatchCounts


def samples(telemetry: Telemetry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of the exposition, by name and labels, read by Prometheus' own parser."""
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(telemetry.exposition().decode())
        for s in family.samples
    }


def request(telemetry: Telemetry, scope: dict[str, Any], status: int | None) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        if status is None:
            raise ZeroDivisionError
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body"})

    async def send(_message: Any) -> None:
        return

    asyncio.run(RequestTimer(app, telemetry)(scope, None, send))


class Route:
    path = "/v1/subjects/{subject_id}"


def test_request_timer_counts_by_pattern_and_status_and_never_by_path():
    telemetry = Telemetry()
    for status in (200, 200, 404):
        request(telemetry, {"type": "http", "path": "/v1/subjects/ada", "route": Route}, status)
    request(telemetry, {"type": "http", "path": "/nowhere"}, 404)
    found = samples(telemetry)
    counted = {labels: value for (name, labels), value in found.items() if name == "matchka_requests_total"}
    assert counted == {
        (("path", Route.path), ("status", "200")): 2.0,
        (("path", Route.path), ("status", "404")): 1.0,
        (("path", "unknown"), ("status", "404")): 1.0,
    }
    assert found["matchka_request_seconds_count", (("path", Route.path),)] == 3.0
    assert b"ada" not in telemetry.exposition()


def test_request_timer_of_an_application_that_fails_counts_a_500():
    telemetry = Telemetry()
    with pytest.raises(ZeroDivisionError):
        request(telemetry, {"type": "http", "path": "/x", "route": Route}, None)
    assert samples(telemetry)["matchka_requests_total", (("path", Route.path), ("status", "500"))] == 1.0


def test_request_timer_ignores_what_is_no_request():
    telemetry = Telemetry()
    request(telemetry, {"type": "lifespan"}, 200)
    assert not [name for name, _ in samples(telemetry) if name == "matchka_requests_total"]


def test_gallery_sizes_and_searches_are_read_at_the_time_of_asking():
    telemetry, sizes, searches = Telemetry(), {("t", "voice"): 1}, {("t", "voice", "two_stage"): 3}
    telemetry.watch_galleries(lambda: sizes, lambda: searches)
    labels = (("model", "voice"), ("tenant", "t"))
    assert samples(telemetry)["matchka_gallery_subjects", labels] == 1.0
    by_method = (("method", "two_stage"), ("model", "voice"), ("tenant", "t"))
    assert samples(telemetry)["matchka_gallery_searches_total", by_method] == 3.0
    sizes["t", "voice"], searches["t", "voice", "two_stage"] = 7, 4
    assert samples(telemetry)["matchka_gallery_searches_total", by_method] == 4.0
    assert samples(telemetry)["matchka_gallery_subjects", labels] == 7.0


def test_two_telemetries_in_one_process_share_nothing():
    first, second = Telemetry(), Telemetry()
    first.decisions.labels("t", "verify", "voice", "true").inc()
    labels = (("call", "verify"), ("match", "true"), ("model", "voice"), ("tenant", "t"))
    assert samples(first)["matchka_decisions_total", labels] == 1.0
    assert ("matchka_decisions_total", labels) not in samples(second)


def test_metrics_of_a_tenant_have_no_sample_of_another():
    telemetry = Telemetry()
    telemetry.watch_galleries(lambda: {("a", "voice"): 1, ("b", "voice"): 2}, lambda: {("b", "voice", "exact"): 3})
    for tenant in "ab":
        telemetry.decisions.labels(tenant, "verify", "voice", "true").inc()
    request(telemetry, {"type": "http", "path": "/x", "route": Route}, 200)
    whole, own = telemetry.exposition().decode(), telemetry.exposition("a").decode()
    assert 'tenant="b"' in whole
    assert 'tenant="b"' not in own
    of_a = [line for line in whole.splitlines() if 'tenant="a"' in line]
    assert len(of_a) == 3  # a size, a decision and when it was first made
    assert of_a == [line for line in own.splitlines() if "tenant=" in line]
    assert f'matchka_requests_total{{path="{Route.path}",status="200"}} 1.0' in own.splitlines()


def test_batches_are_reported_as_a_histogram_a_gauge_and_a_counter():
    telemetry = Telemetry()
    counts = BatchCounts(runs={1: 3, 2: 1, 5: 2, 100: 1}, queued_rows=4, dropped={"deadline": 2})
    telemetry.watch_batches(lambda: {"voice": counts})
    found = samples(telemetry)
    buckets = {
        dict(labels)["le"]: value for (name, labels), value in found.items() if name == "matchka_batch_rows_bucket"
    }
    assert buckets == {"1": 3, "2": 4, "4": 4, "8": 6, "16": 6, "32": 6, "64": 6, "+Inf": 7}
    voice = ("model", "voice")
    assert found["matchka_batch_rows_sum", (voice,)] == 3 * 1 + 1 * 2 + 2 * 5 + 100
    assert found["matchka_batch_rows_count", (voice,)] == 7
    assert found["matchka_batch_queued_rows", (voice,)] == 4
    assert found["matchka_batch_dropped_total", (voice, ("reason", "deadline"))] == 2
