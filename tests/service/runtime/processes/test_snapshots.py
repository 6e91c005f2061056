"""Metrics of several processes added up, against prometheus_client's own reading of one that did it all."""

import json
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from matchka.api.telemetry import Telemetry
from matchka.inference.batcher import BatchCounts
from matchka.runtime.processes.siblings import ServiceCounts
from matchka.runtime.processes.snapshots import Snapshot, lasting, merged, total

Step = Callable[[Telemetry], None]
STEPS: list[Step] = [
    lambda telemetry: telemetry.requests.labels("/v1/embed", "200").inc(),
    lambda telemetry: telemetry.requests.labels("/v1/embed", "503").inc(3),
    lambda telemetry: telemetry.seconds.labels("/v1/embed").observe(0.02),
    lambda telemetry: telemetry.seconds.labels("/v1/embed").observe(3.0),
    lambda telemetry: telemetry.seconds.labels("/v1/verify").observe(99.0),
    lambda telemetry: telemetry.decisions.labels("t", "verify", "voice", "true").inc(),
]


def as_a_line(telemetry: Telemetry) -> Snapshot:
    """A snapshot as it comes through a link."""
    snapshot: Snapshot = json.loads(json.dumps(telemetry.snapshot()))
    return snapshot


def read(exposition: bytes, prefix: str = "matchka_") -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(exposition.decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith(prefix) and not sample.name.endswith("_created")
    }


def counts_of(*processes: Snapshot, ended: Snapshot | None = None) -> ServiceCounts:
    return ServiceCounts(ended or [], dict(enumerate(processes, 1)), len(processes), 0)


def test_what_processes_counted_adds_up_to_what_one_would_have_counted():
    alone, first, second = Telemetry(), Telemetry(), Telemetry()
    for number, step in enumerate([*STEPS, *STEPS[:3]]):
        step(alone)
        step(first if number % 3 else second)
    shown = read(Telemetry().exposition(None, counts_of(as_a_line(first), as_a_line(second))))
    of_processes = {key for key in shown if key[0].startswith("matchka_process")}
    assert {key: value for key, value in shown.items() if key not in of_processes} == pytest.approx(
        read(alone.exposition())
    )


def test_exposition_says_how_many_requests_each_process_has_answered():
    first, second = Telemetry(), Telemetry()
    STEPS[0](first)
    STEPS[1](second)
    shown = read(Telemetry().exposition(None, counts_of(as_a_line(first), as_a_line(second))), "matchka_process")
    assert shown == {
        ("matchka_processes", frozenset()): 2,
        ("matchka_process_replacements_total", frozenset()): 0,
        ("matchka_process_requests_total", frozenset({("process", "1")})): 1,
        ("matchka_process_requests_total", frozenset({("process", "2")})): 3,
    }


def test_tenant_sees_nothing_of_other_tenants_in_any_process():
    first, second = Telemetry(), Telemetry()
    for telemetry, tenant in ((first, "own"), (second, "own"), (second, "other")):
        telemetry.decisions.labels(tenant, "verify", "voice", "true").inc()
    shown = read(Telemetry().exposition("own", counts_of(as_a_line(first), as_a_line(second))), "matchka_decisions")
    assert [(dict(labels)["tenant"], value) for (_, labels), value in shown.items()] == [("own", 2.0)]


def test_processes_that_ended_keep_what_they_counted_and_nothing_of_their_state():
    ended, running = Telemetry(), Telemetry()
    for telemetry, queued in ((ended, 5), (running, 2)):
        STEPS[0](telemetry)
        counts = BatchCounts({3: 4}, queued, {"deadline": 1})
        telemetry.watch_batches(lambda counts=counts: {"voice": counts})
    kept = lasting(as_a_line(ended))
    shown = read(Telemetry().exposition(None, counts_of(as_a_line(running), ended=merged([kept, kept]))))
    assert shown["matchka_requests_total", frozenset({("path", "/v1/embed"), ("status", "200")})] == 3
    assert shown["matchka_batch_dropped_total", frozenset({("model", "voice"), ("reason", "deadline")})] == 3
    assert shown["matchka_batch_rows_count", frozenset({("model", "voice")})] == 12
    assert shown["matchka_batch_queued_rows", frozenset({("model", "voice")})] == 2


def test_gallery_that_every_process_holds_counts_once():
    snapshots = []
    for size in (7, 8):  # one has not followed yet
        telemetry = Telemetry()
        telemetry.watch_galleries(lambda size=size: {("t", "voice"): size}, dict)
        snapshots.append(as_a_line(telemetry))
    shown = read(Telemetry().exposition(None, counts_of(*snapshots)), "matchka_gallery_subjects")
    assert list(shown.values()) == [8.0]


@pytest.mark.parametrize(("own", "others"), [(1, 0), (0, 1)])
def test_database_answers_or_not_as_the_process_that_asked_just_now_has_found(own: int, others: int):
    asked, other = Telemetry(), Telemetry()
    asked.database_up.set(own)
    other.database_up.set(others)
    shown = read(asked.exposition(None, counts_of(as_a_line(asked), as_a_line(other))), "matchka_database_up")
    assert list(shown.values()) == [own]


def test_times_of_processes_are_those_of_the_service():
    snapshots = [as_a_line(Telemetry()) for _ in range(2)]
    family = next(family for family in merged(snapshots) if family["name"] == "process_start_time_seconds")
    assert family["samples"][0][2] == total(snapshots[0], "process_start_time_seconds")
    assert total(merged(snapshots), "process_open_fds") == sum(total(one, "process_open_fds") for one in snapshots)
    assert total(merged(snapshots), "process_max_fds") == total(snapshots[0], "process_max_fds")
