"""Prometheus metrics of the service: docs/observability.md has a table of them."""

import math
import platform
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from importlib.metadata import version
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from matchka.api.problems import INTERNAL_ERROR, STATUS_AND_CODE
from matchka.api.tracing.request_ids import route_of
from matchka.bundles.manifest import Manifest
from matchka.gallery.faiss_cpu.policy import Method
from matchka.inference.batcher import BatchCounts
from matchka.runtime.processes.siblings import ServiceCounts
from matchka.runtime.processes.snapshots import Snapshot, merged, total
from matchka.runtime.stage_timer import StageMetrics
from matchka.runtime.telemetry.served_request import served_request
from matchka.store.audit.writer import AuditCounts
from matchka.store.connections.pool import MeasuredPool
from matchka.tasks.embedding.following.follower import FollowerStatus

LATENCY_BUCKETS_S: Final = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
WAIT_BUCKETS_S: Final = (1e-4, 1e-3, 0.01, 0.05, 0.25, 1.0, 5.0)
SIMILARITY_BUCKETS: Final = tuple(step / 20 for step in range(-4, 21))  # -0.2 to 1; what is below does not matter
# Two readings tell the similarity of a call between them, which only the scope `scores` may see, whoever called; of the
# feed they tell how many people all tenants have, and how busy they are.
OF_OPERATOR: Final = frozenset(
    {
        "matchka_feed_pending_changes",
        "matchka_feed_position",
        "matchka_gallery_filled_references",
        "matchka_similarity",
    }
)
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
        self.problems = Counter(
            "matchka_problems", "Requests answered with a problem, by its code", ["code"], registry=self._registry
        )
        for _, code in (*STATUS_AND_CODE.values(), (500, INTERNAL_ERROR)):
            self.problems.labels(code)  # from 0 on: what appears at 1 has not grown for Prometheus
        self.similarity = Histogram(
            "matchka_similarity",
            "Similarity of verified probes, by the decision on it",
            ["model", "version", "match"],
            buckets=SIMILARITY_BUCKETS,
            registry=self._registry,
        )
        self.ready = self._gauge("ready", "Whether models are warm and galleries are loaded")
        self.database_up = self._gauge("database_up", "Whether the databases answered when they were last asked")
        self.in_flight_requests = self._gauge("in_flight_requests", "Requests that are let in and not answered")
        self.in_flight_body_bytes = self._gauge("in_flight_body_bytes", "Bytes of their bodies")
        self._limits = self._gauge("in_flight_limit", "Most of these for one key", "of")
        self._bundles = self._gauge("bundle_info", "1 for each bundle that is served", "model", "version", "digest")
        build = self._gauge("build_info", "1", "version", "python")
        build.labels(version("matchka"), platform.python_version()).set(1)
        self.stages = StageMetrics(self._registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"matchka_{name}", meaning, labels, registry=self._registry)

    def state_limits(self, max_in_flight: int, max_body_bytes: float) -> None:
        """Say how much of one key's may be in flight, as settings have it."""
        self._limits.labels("requests").set(max_in_flight)
        self._limits.labels("body_bytes").set(max_body_bytes)

    def state_bundles(self, manifests: Iterable[Manifest]) -> None:
        """Say what is served."""
        for manifest in manifests:
            self._bundles.labels(manifest.name, manifest.version, manifest.content_digest or "").set(1)

    def watch_pools(self, pools: Mapping[str, MeasuredPool]) -> None:
        """Report the connections to databases, by names of these."""
        in_use = self._gauge("database_connections", "Connections to a database that are in use", "database")
        most = self._gauge("database_connections_limit", "Most of them at once", "database")
        waited = Histogram(
            "matchka_database_wait_seconds",
            "Seconds until a connection was at hand",
            ["database"],
            buckets=WAIT_BUCKETS_S,
            registry=self._registry,
        )
        for name, pool in pools.items():
            in_use.labels(name).set_function(pool.checkedout)
            most.labels(name).set(pool.most)
            pool.on_waited = waited.labels(name).observe

    def watch_disk(self, folder: Path) -> None:
        """Report the room that is left where a folder is."""

        def free_bytes() -> float:
            try:
                return shutil.disk_usage(folder).free
            except OSError:
                return math.nan

        self._gauge("data_free_bytes", "Room left on the disk of the data folder").set_function(free_bytes)

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
        shown: Collector = self._registry if service is None else _ServiceCollector(service, self.database_up)
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
            path = route_of(scope)
            self._telemetry.requests.labels(path, str(status)).inc()
            served = served_request()
            if served is not None and served.problem is not None:
                self._telemetry.problems.labels(served.problem).inc()
            self._telemetry.seconds.labels(path).observe(time.perf_counter() - started)


class _OfTenant(Collector):
    """Metrics without the samples of other tenants, and without what is the operator's alone."""

    def __init__(self, metrics: Collector, tenant: str) -> None:
        self._metrics = metrics
        self._tenant = tenant

    def collect(self) -> Iterable[Metric]:
        for family in self._metrics.collect():
            if family.name in OF_OPERATOR:
                continue
            own = copy(family)
            own.samples = [one for one in family.samples if one.labels.get("tenant", self._tenant) == self._tenant]
            yield own


class _ServiceCollector(Collector):
    """The metrics of all processes of a service as those of one, and what there is to say of the processes.

    Args:
        service: what is known of all of them.
        database_up: of this process, which has just asked; others were asked whenever, or never.
    """

    def __init__(self, service: ServiceCounts, database_up: Gauge) -> None:
        self._service = service
        self._database_up = database_up

    def collect(self) -> Iterable[Metric]:
        own = {metric.name: metric for metric in self._database_up.collect()}
        for family in merged([self._service.ended, *self._service.running.values()]):
            if family["name"] in own:
                continue
            metric = Metric(family["name"], family["documentation"], family["type"])
            for name, labels, value in family["samples"]:
                metric.add_sample(name, labels, value)
            yield metric
        yield from own.values()
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
