"""How long admission took and what it refused, under the names of Kubernetes."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from ...proto.buckets import SECONDS_BUCKETS


class AdmissionMetrics:
    """`kind`: admit (mutating) or validate."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._plugins = Histogram(
            "apiserver_admission_controller_admission_duration_seconds",
            "Time spent in a plugin, by its name, what it does, the operation, and whether it refused",
            ("name", "type", "operation", "rejected"),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._webhooks = Histogram(
            "apiserver_admission_webhook_admission_duration_seconds",
            "From asking a webhook to its answer, or to giving up",
            ("name", "type", "operation", "rejected"),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._rejections = Counter(
            "apiserver_admission_webhook_rejection_count",
            "Writes refused by a webhook, or because it could not be asked (error_type calling_webhook_error)",
            ("name", "type", "operation", "error_type", "rejection_code"),
            registry=registry,
        )
        self._open = Counter(
            "apiserver_admission_webhook_fail_open_count",
            "Writes that went on although a webhook could not be asked, for its failurePolicy is Ignore",
            ("name", "type"),
            registry=registry,
        )

    def plugin(self, name: str, kind: str, operation: str, seconds: float, *, rejected: bool) -> None:
        self._plugins.labels(name, kind, operation, str(rejected).lower()).observe(seconds)

    def webhook(self, name: str, kind: str, operation: str, seconds: float, *, rejected: bool) -> None:
        self._webhooks.labels(name, kind, operation, str(rejected).lower()).observe(seconds)

    def webhook_rejected(self, name: str, kind: str, operation: str, error_type: str, code: int) -> None:
        self._rejections.labels(name, kind, operation, error_type, str(code)).inc()

    def failed_open(self, name: str, kind: str) -> None:
        self._open.labels(name, kind).inc()
