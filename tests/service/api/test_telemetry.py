"""What Prometheus reads."""

import asyncio
import math
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import create_engine

from matchka.api.dependencies import ServiceState
from matchka.api.guards.key_ring import KeyRing
from matchka.api.guards.middleware import BodyLimit, InFlightLimit
from matchka.api.telemetry import RequestTimer, Telemetry
from matchka.bundles.bundle import read_manifest
from matchka.errors import RequestFailedError, StorageFailedError
from matchka.inference.batcher import BatchCounts
from matchka.runtime.telemetry.served_request import ServedRequest, serving
from matchka.settings import read_settings
from matchka.store.connections.pool import MeasuredPool
from matchka.store.health import DatabaseHealth
from tests.factories.bundles import VERSION, write_bundle
from tests.factories.samples import sample
from tests.factories.small_server import SmallServer


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


def test_problems_are_counted_by_their_codes_and_answers_without_one_are_not():
    telemetry = Telemetry()
    for problem in ("silence", "silence", "overloaded", None):
        with serving(ServedRequest("a", "b", problem)):
            request(telemetry, {"type": "http", "path": "/x"}, 422)
    found = {labels: value for (name, labels), value in samples(telemetry).items() if name == "matchka_problems_total"}
    assert found[(("code", "storage_damaged"),)] == found[(("code", "internal_error"),)] == 0  # before it happens
    counted = {labels: value for labels, value in found.items() if value}
    assert counted == {(("code", "silence"),): 2.0, (("code", "overloaded"),): 1.0}


def test_similarities_are_counted_up_to_each_edge_and_only_the_operator_sees_them():
    telemetry, seen = Telemetry(), (-0.9, -0.2, 0.049, 0.05, 0.6125, 1.0)
    for similarity in seen:
        telemetry.similarity.labels("voice", "1", "true").observe(similarity)
    found = {
        float(dict(labels)["le"]): value
        for (name, labels), value in samples(telemetry).items()
        if name == "matchka_similarity_bucket"
    }
    assert len(found) == 26  # steps of 0.05 from -0.2 to 1, and all
    assert found == {edge: sum(similarity <= edge for similarity in seen) for edge in found}
    assert b"matchka_similarity" not in telemetry.exposition("default")


def test_bundles_limits_and_build_are_stated_as_labels_and_values(tmp_path: Path):
    telemetry = Telemetry()
    write_bundle(tmp_path / "voice")
    manifest = read_manifest(tmp_path / "voice")
    telemetry.state_bundles([manifest])
    telemetry.state_limits(128, 256.5 * (1 << 20))
    found = samples(telemetry)
    bundle = (("digest", manifest.content_digest), ("model", "voice"), ("version", VERSION))
    assert found["matchka_bundle_info", bundle] == 1
    assert found["matchka_in_flight_limit", (("of", "requests"),)] == 128
    assert found["matchka_in_flight_limit", (("of", "body_bytes"),)] == 268_959_744
    (build,) = [dict(labels) for name, labels in found if name == "matchka_build_info"]
    assert build == {"version": version("matchka"), "python": sys.version.split()[0]}


def test_connections_are_reported_while_they_are_in_use_and_their_waits_are_timed(tmp_path: Path):
    telemetry, engine = Telemetry(), create_engine(f"sqlite:///{tmp_path / 'x'}", poolclass=MeasuredPool)
    telemetry.watch_pools({"templates": engine.pool})
    database = (("database", "templates"),)
    with engine.connect():
        assert samples(telemetry)["matchka_database_connections", database] == 1
    found = samples(telemetry)
    assert found["matchka_database_connections", database] == 0
    assert found["matchka_database_connections_limit", database] == 15
    assert found["matchka_database_wait_seconds_count", database] == 1
    engine.dispose()


def test_room_on_the_disk_is_reported_and_is_no_number_where_there_is_no_disk(tmp_path: Path):
    there, gone = Telemetry(), Telemetry()
    there.watch_disk(tmp_path)
    gone.watch_disk(tmp_path / "gone")
    found = samples(there)["matchka_data_free_bytes", ()]
    assert 0 < found <= os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize
    assert math.isnan(samples(gone)["matchka_data_free_bytes", ()])


def test_database_that_does_not_answer_is_down_until_it_answers(tmp_path: Path):
    telemetry = Telemetry()
    away, there = create_engine("postgresql+psycopg://127.0.0.1:1/none"), create_engine(f"sqlite:///{tmp_path / 'x'}")
    found = []
    for engine in (there, away, there):
        with closing(DatabaseHealth([engine])) as health, ThreadPoolExecutor(1) as workers:
            state = ServiceState(KeyRing(read_settings({})), workers, 1.0, telemetry=telemetry, database_health=health)
            with suppress(StorageFailedError):
                asyncio.run(state.require_database())
        found.append(samples(telemetry)["matchka_database_up", ()])
    assert found == [1, 0, 1]


def test_requests_and_bodies_in_flight_are_shown_until_they_end_however_they_do():
    telemetry, seen = Telemetry(), []

    def now() -> tuple[float, float]:
        found = samples(telemetry)
        return found["matchka_in_flight_requests", ()], found["matchka_in_flight_body_bytes", ()]

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        for _ in range(2):
            await receive()
            seen.append(now())
        raise ZeroDivisionError

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 500, "more_body": True}

    limited = InFlightLimit(
        BodyLimit(app, 1.0, gauge=telemetry.in_flight_body_bytes), 2, gauge=telemetry.in_flight_requests
    )
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            asyncio.run(limited({"type": "http", "path": "/v1/embed", "headers": []}, receive, receive))
    assert seen == [(1, 500), (1, 1000)] * 2
    assert now() == (0, 0)


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


def test_service_counts_what_it_answered_and_says_that_it_is_ready(small_server: SmallServer):
    client = small_server.client()

    def read() -> dict[str, float]:
        exposition = requests.get(f"{small_server.url}/metrics", timeout=60).text
        names = ("matchka_similarity_count", "matchka_problems_total", "matchka_ready", "matchka_database_up")
        return {
            " ".join((s.name, *(s.labels[label] for label in ("match", "code") if label in s.labels))): s.value
            for family in text_string_to_metric_families(exposition)
            for s in family.samples
            if s.name in names
        }

    client.enroll("counted", [sample(6)])
    before = read()
    client.verify("counted", sample(6, 1))
    client.verify("counted", sample(7))
    client.compare(sample(6), sample(6, 1))  # of nobody who is enrolled: not counted
    with pytest.raises(RequestFailedError):
        client.verify("nobody", sample(6))
    grown = {name: value - before.get(name, 0) for name, value in read().items()}
    assert {name: value for name, value in grown.items() if value} == {
        "matchka_similarity_count true": 1,
        "matchka_similarity_count false": 1,
        "matchka_problems_total unknown_subject": 1,
    }
    assert (before["matchka_ready"], before["matchka_database_up"]) == (1, 1)
