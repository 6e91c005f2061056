"""Prometheus metrics of the service."""

import time
from collections.abc import Callable, Iterable
from copy import copy
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from matchka.gallery.faiss_cpu.policy import Method
from matchka.inference.batcher import BatchCounts
from matchka.runtime.processes.siblings import ServiceCounts
from matchka.runtime.processes.snapshots import Snapshot, merged, total
from matchka.runtime.stage_timer import StageMetrics
from matchka.store.audit.writer import AuditCounts
from matchka.tasks.embedding.following.follower import FollowerStatus

LATENCY_BUCKETS_S: Final = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_BUCKETS_ROWS: Final = (1, 2, 4, 8, 16, 32, 64)
BatchesOfModels = Callable[[], dict[str, BatchCounts]]
GallerySizes = Callable[[], dict[tuple[str, str], int]]
GallerySearches = Callable[[], dict[tuple[str, str, Method], int]]


class Telemetry:
    """Counters of one application; no state is shared between two applications in one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = Counter("matchka_requests", "Requests answered", ["path", "status"], registry=self._registry)
        self.seconds = Histogram(
            "matchka_request_seconds",
            "Seconds from the first byte to the answer",
            ["path"],
            buckets=LATENCY_BUCKETS_S,
            registry=self._registry,
        )
        self.decisions = Counter(
            "matchka_decisions", "Decisions made", ["tenant", "call", "model", "match"], registry=self._registry
        )
        self.stages = StageMetrics(self._registry)

    def watch_galleries(self, sizes: GallerySizes, searches: GallerySearches) -> None:
        """Report the galleries' sizes, and how they were searched, whenever the metrics are read."""
        self._registry.register(_GalleryCollector(sizes, searches))

    def watch_batches(self, counts: BatchesOfModels) -> None:
        """Report what the batchers did whenever the metrics are read."""
        self._registry.register(_BatchCollector(counts))

    def watch_erasures(self, waiting: Callable[[], int]) -> None:
        """Report how many deletions still have bytes in the database's log."""
        Gauge(
            "matchka_erasures_waiting", "Deletions whose bytes are still in the database's log", registry=self._registry
        ).set_function(waiting)

    def watch_draining(self, is_draining: Callable[[], bool]) -> None:
        """Report whether the process is leaving."""
        Gauge("matchka_draining", "1 while the service is about to stop", registry=self._registry).set_function(
            is_draining
        )

    def watch_audit(self, counts: Callable[[], AuditCounts]) -> None:
        """Report what became of the audit log's records whenever the metrics are read."""
        self._registry.register(_AuditCollector(counts))

    def watch_following(self, status: Callable[[], FollowerStatus]) -> None:
        """Report how closely the galleries follow the store whenever the metrics are read."""
        self._registry.register(_FollowingCollector(status))

    def snapshot(self) -> Snapshot:
        """The metrics of this process as plain values."""
        return [
            {
                "name": family.name,
                "documentation": family.documentation,
                "type": family.type,
                "samples": [[sample.name, sample.labels, sample.value] for sample in family.samples],
            }
            for family in self._registry.collect()
        ]

    def exposition(self, tenant: str | None = None, service: ServiceCounts | None = None) -> bytes:
        """The metrics in Prometheus' text format.

        Args:
            tenant: whose samples are shown, of those that are kept by tenant; all tenants' by default.
            service: what is known of all processes; only this one is there by default.
        """
        shown: Collector = self._registry if service is None else _ServiceCollector(service)
        return generate_latest(shown if tenant is None else _OfTenant(shown, tenant))


class RequestTimer:
    """ASGI middleware: counts and times every request under the path pattern of its route."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def noting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting_send)
        finally:
            # The pattern, never the path itself: subject ids must not become labels.
            path = getattr(scope.get("route"), "path", "unknown")
            self._telemetry.requests.labels(path, str(status)).inc()
            self._telemetry.seconds.labels(path).observe(time.perf_counter() - started)


class _OfTenant(Collector):
    """Metrics without the samples of other tenants."""

    def __init__(self, metrics: Collector, tenant: str) -> None:
        self._metrics = metrics
        self._tenant = tenant

    def collect(self) -> Iterable[Metric]:
        for family in self._metrics.collect():
            own = copy(family)
            own.samples = [one for one in family.samples if one.labels.get("tenant", self._tenant) == self._tenant]
            yield own


class _ServiceCollector(Collector):
    """The metrics of all processes of a service as those of one, and what there is to say of the processes."""

    def __init__(self, service: ServiceCounts) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        for family in merged([self._service.ended, *self._service.running.values()]):
            metric = Metric(family["name"], family["documentation"], family["type"])
            for name, labels, value in family["samples"]:
                metric.add_sample(name, labels, value)
            yield metric
        yield GaugeMetricFamily("matchka_processes", "Processes that serve", value=self._service.ready)
        yield CounterMetricFamily(
            "matchka_process_replacements", "Processes that ended and were replaced", value=self._service.replaced
        )
        requests = CounterMetricFamily(
            "matchka_process_requests", "Requests answered by each process that runs", labels=["process"]
        )
        for number, snapshot in sorted(self._service.running.items()):
            requests.add_metric([str(number)], total(snapshot, "matchka_requests_total"))
        yield requests


class _GalleryCollector(Collector):
    def __init__(self, sizes: GallerySizes, searches: GallerySearches) -> None:
        self._sizes = sizes
        self._searches = searches

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily("matchka_gallery_subjects", "Subjects in the gallery", labels=["tenant", "model"])
        for (tenant, model), size in self._sizes().items():
            family.add_metric([tenant, model], size)
        yield family
        searches = CounterMetricFamily(
            "matchka_gallery_searches", "Searches, by how they were made", labels=["tenant", "model", "method"]
        )
        for labels, count in self._searches().items():
            searches.add_metric(list(labels), count)
        yield searches


class _FollowingCollector(Collector):
    def __init__(self, status: Callable[[], FollowerStatus]) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        status = self._status()
        lag = "All that was committed so many seconds ago is in the galleries"
        yield GaugeMetricFamily("matchka_feed_lag_seconds", lag, value=status.lag_s)
        position = "The store's next transaction, as the last look found it"
        yield GaugeMetricFamily("matchka_feed_position", position, value=status.transaction)
        pending = "Changes that were read and are not in the galleries yet"
        yield GaugeMetricFamily("matchka_feed_pending_changes", pending, value=status.pending)
        filled = "References put while galleries were filled"
        yield CounterMetricFamily("matchka_gallery_filled_references", filled, value=status.filled)


class _AuditCollector(Collector):
    def __init__(self, counts: Callable[[], AuditCounts]) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        counts = self._counts()
        yield CounterMetricFamily("matchka_audit_records", "Records of calls that were written", value=counts.written)
        yield CounterMetricFamily("matchka_audit_lost", "Records that could not be written", value=counts.lost)
        yield GaugeMetricFamily("matchka_audit_waiting", "Records that wait to be written", value=counts.waiting)


class _BatchCollector(Collector):
    def __init__(self, counts: BatchesOfModels) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        sizes = HistogramMetricFamily("matchka_batch_rows", "Rows of one run", labels=["model"])
        queued = GaugeMetricFamily("matchka_batch_queued_rows", "Rows that wait for a run", labels=["model"])
        dropped = CounterMetricFamily(
            "matchka_batch_dropped", "Requests that left the queue unanswered", labels=["model", "reason"]
        )
        for model, counts in self._counts().items():
            below = [
                (str(edge), sum(n for rows, n in counts.runs.items() if rows <= edge)) for edge in BATCH_BUCKETS_ROWS
            ]
            buckets = [*below, ("+Inf", sum(counts.runs.values()))]
            sizes.add_metric([model], buckets, sum_value=sum(rows * n for rows, n in counts.runs.items()))
            queued.add_metric([model], counts.queued_rows)
            for reason, requests in counts.dropped.items():
                dropped.add_metric([model, reason], requests)
        yield from (sizes, queued, dropped)
