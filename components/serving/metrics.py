"""What the service counts, for Prometheus. One registry a service: two in one process do not add up.

from components.serving.metrics import Metrics
Metrics().text()                                     # the answer of GET /metrics
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
BYTES = tuple(10.0**power for power in range(3, 9))


class Metrics:
    """Counters of requests (`requests`, `seconds`, `uploads`) and of the models' thread (all others)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        self.requests = Counter("rnr_requests", "Answers, by path and status.", ("path", "status"), registry=own)
        self.seconds = Histogram(
            "rnr_request_seconds",
            "From the head of a request to the end of its answer.",
            ("path",),
            buckets=SECONDS,
            registry=own,
        )
        self.uploads = Histogram("rnr_upload_bytes", "Size of the photos that were sent.", buckets=BYTES, registry=own)
        self.places = Gauge("rnr_places_taken", "Requests that upload, wait or are at work.", registry=own)
        self.queue = Gauge("rnr_queue_length", "Work that waits for the models.", registry=own)
        self.waits = Histogram("rnr_queue_seconds", "How long work waited.", buckets=SECONDS, registry=own)
        self.batches = Histogram("rnr_batch_size", "Diagnoses made at once.", buckets=(1, 2, 3, 4, 6, 8), registry=own)
        self.work = Histogram("rnr_work_seconds", "Time of the models.", ("work",), buckets=SECONDS, registry=own)
        self.model = Gauge("rnr_model_info", "1 for the models that answer.", ("model",), registry=own)
        self.reloads = Counter("rnr_model_reloads", "Models that were to take over.", ("outcome",), registry=own)
        for outcome in ("done", "failed"):
            self.reloads.labels(outcome)
        # memory, processor time and open files
        ProcessCollector(registry=own)

    def says_model(self, ref: str) -> None:
        """From now on `ref` answers, and no other."""
        self.model.clear()
        self.model.labels(ref).set(1)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
