"""The figures at /metrics, for Prometheus: one registry an application, all of one process.

Names follow Prometheus's conventions: base units (seconds, bytes), ``_total`` for what only grows.
Labels have few values: routes by template, methods that are known, models that are allowed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import anyio
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.batching.events import (
    Admitted,
    BatchDone,
    CallDone,
    Done,
    Event,
    Refused,
    Tokenised,
)
from service.observing.record import RequestRecord, current

if TYPE_CHECKING:
    from encoders.registry import LoadedModel

logger = logging.getLogger(__name__)

NOWHERE = "none"
"""The route of a request that reached none."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
WINDOWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
PIECES = (16, 64, 256, 1024, 2048, 4096, 8192, 16384, 32768, 65536)

Counts = Callable[[], Mapping[str, int]]
"""Jobs by state, as the database has them now."""


class Metrics:
    """All figures of one application."""

    def __init__(self, version: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # as many lines again
        self.registry = CollectorRegistry(auto_describe=True)
        self.thread = anyio.CapacityLimiter(1)
        """For who asks for the text, whatever all other threads may be waiting for."""
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._requests = self._counter(
            "requests", "Requests that were answered.", "method", "route", "status"
        )
        self._seconds = self._histogram(
            "request_duration_seconds", "From the first line of a request to the end of its "
            "answer.", SECONDS, "method", "route",
        )  # fmt: skip
        self._at_work = self._gauge("requests_in_progress", "Requests being answered now.")
        self._refused = self._counter(
            "requests_refused", "429: the queue is full, or a rate limit is reached.", "reason"
        )
        self._unauthorised = self._counter(
            "requests_unauthorised", "401 and 403: no or a wrong key, a scope too small.", "status"
        )
        self._connections_refused = self._counter(
            "connections_refused", "Connections closed for BITEXT_MAX_CONNECTIONS."
        )
        self._on_the_way()
        build = self._gauge("build_info", "Always 1.", "version")
        build.labels(version).set(1)
        for reason in ("queue", "rate"):
            self._refused.labels(reason)  # a series that is not there cannot grow in a graph

    def _on_the_way(self) -> None:
        """What batching tells."""
        self._admission = self._histogram(
            "admission_duration_seconds", "An admitted request waited for a place.", SECONDS
        )
        self._left = self._counter(
            "admitted_requests", "Admitted requests that have left.", "outcome"
        )
        self._waiting_requests = self._gauge(
            "queue_requests", "Requests admitted and not done: those computing and those waiting."
        )
        self._waiting_bytes = self._gauge("queue_bytes", "The bodies of these requests.")
        self._tokenise = self._histogram(
            "tokenise_duration_seconds", "Texts of one call became pieces.", SECONDS, "model"
        )
        self._queue = self._histogram(
            "queue_duration_seconds", "Windows of a call waited for the model.", SECONDS, "model"
        )
        self._forward = self._histogram(
            "forward_duration_seconds", "A batch went through the model.", SECONDS, "model"
        )
        self._waiting_windows = self._gauge(
            "queue_windows", "Windows that wait for the model.", "model"
        )
        self._windows = self._histogram("batch_windows", "Windows of a batch.", WINDOWS, "model")
        self._batch_pieces = self._histogram(
            "batch_pieces", "Pieces of a batch, padding not counted.", PIECES, "model"
        )
        self._pieces = self._counter("pieces", "Pieces that went through the model.", "model")
        self._padding = self._counter("padding_pieces", "Padding that went along.", "model")

    # --- requests

    def began(self) -> None:
        """A request has come in."""
        self._at_work.inc()

    def ended(self, record: RequestRecord, status: int, seconds: float) -> None:
        """It was answered."""
        self._at_work.dec()
        method = record.method
        route = record.route or NOWHERE
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)
        if status in (401, 403):
            self._unauthorised.labels(str(status)).inc()

    def rate_limited(self) -> None:
        """A request was answered 429 by a rate limit."""
        self._refused.labels("rate").inc()

    def connection_refused(self) -> None:
        """One was closed, since there were too many."""
        self._connections_refused.inc()

    # --- batching

    def heard(self, event: Event) -> None:
        """A listener of ``state.events``."""
        if isinstance(event, Admitted | Refused | Done):
            self._waiting_requests.set(event.requests)
            self._waiting_bytes.set(event.bytes)
        if isinstance(event, Refused):
            self._refused.labels("queue").inc()
        elif isinstance(event, Done):
            self._admission.observe(event.waited)
            self._left.labels(event.outcome).inc()
        elif isinstance(event, Tokenised):
            self._tokenise.labels(event.model).observe(event.seconds)
            record = current()
            if record is not None:
                record.pieces += event.pieces
        elif isinstance(event, CallDone):
            self._queue.labels(event.model).observe(event.waited)
        elif isinstance(event, BatchDone):
            self._batch(event)

    def _batch(self, event: BatchDone) -> None:
        self._forward.labels(event.model).observe(event.seconds)
        self._windows.labels(event.model).observe(event.rows)
        self._batch_pieces.labels(event.model).observe(event.pieces)
        self._pieces.labels(event.model).inc(event.pieces)
        if event.padded is not None:
            self._padding.labels(event.model).inc(event.padded - event.pieces)
        self._waiting_windows.labels(event.model).set(event.waiting)

    # --- what is looked up when it is asked for

    def watch(
        self,
        *,
        models: Callable[[], Sequence[LoadedModel]],
        ready: Callable[[], bool],
        jobs: Counts | None = None,
    ) -> None:
        """Let every answer of /metrics tell these, as they are then."""
        self.registry.register(_Now(models, ready, jobs))

    def text(self) -> bytes:
        """All figures in Prometheus's text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(name, help, labels, namespace="bitext", registry=self.registry)

    def _gauge(self, name: str, help: str, *labels: str) -> Gauge:
        return Gauge(name, help, labels, namespace="bitext", registry=self.registry)

    def _histogram(self, name: str, help: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(
            name, help, labels, namespace="bitext", registry=self.registry, buckets=buckets
        )


class _Now(Collector):
    """Figures that somebody else keeps."""

    def __init__(
        self,
        models: Callable[[], Sequence[LoadedModel]],
        ready: Callable[[], bool],
        jobs: Counts | None,
    ) -> None:
        self._models = models
        self._ready = ready
        self._jobs = jobs

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Their names, without looking anything up."""
        return [_ready(), _memory(), *([_jobs(), _database()] if self._jobs else [])]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Their values."""
        ready = _ready()
        ready.add_metric([], float(self._ready()))
        memory = _memory()
        for model in self._models():
            memory.add_metric([model.name, model.dtype, model.device], model.bytes)
        yield from (ready, memory)
        if self._jobs is not None:
            yield from self._count(self._jobs)

    def _count(self, counts: Counts) -> Iterable[GaugeMetricFamily]:
        """The database may be away; that is a figure, too, and no reason to tell nothing else."""
        jobs, database = _jobs(), _database()
        try:
            found = counts()
        except Exception:
            logger.warning("the jobs could not be counted", exc_info=True)
            database.add_metric([], 0)
        else:
            database.add_metric([], 1)
            for state, count in found.items():
                jobs.add_metric([state], count)
        return (jobs, database)


def _ready() -> GaugeMetricFamily:
    return GaugeMetricFamily("bitext_ready", "1 when the model is loaded and warm.")


def _memory() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "bitext_model_memory_bytes",
        "Memory that the weights of a loaded model take.",
        labels=["model", "dtype", "device"],
    )


def _jobs() -> GaugeMetricFamily:
    return GaugeMetricFamily("bitext_jobs", "Jobs by state.", labels=["state"])


def _database() -> GaugeMetricFamily:
    return GaugeMetricFamily("bitext_database_up", "1 when the database answers.")
