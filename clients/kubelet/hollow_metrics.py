"""The metrics of a process that hosts kubelets: sums over its nodes, under Kubernetes' names where it has them."""

from __future__ import annotations

from collections.abc import Mapping

from ..actor import Actor
from ..metrics import counter, gauge, histogram
from .core import Kubelet
from .pod import Outbox
from .registrar import Registrar


class HollowMetrics:
    """Gauges are counted when somebody asks for them; `actor` tells apart hosts that share a registry."""

    def __init__(self, actor: Actor, kubelets: Mapping[str, Kubelet], registrar: Registrar) -> None:
        registry, self._actor_name = actor.registry, actor.name
        self._gauges = {
            gauge(registry, "kubelet_nodes", "Nodes hosted.", ["actor"]): lambda: len(kubelets),
            gauge(registry, "kubelet_nodes_registered", "Nodes hosted that are registered.", ["actor"]): lambda: sum(
                node.registered for node in registrar.nodes.values()
            ),
            gauge(registry, "kubelet_running_pods", "Pods that run on the nodes.", ["actor"]): lambda: sum(
                kubelet.instances for kubelet in kubelets.values()
            ),
        }
        for each, count in self._gauges.items():
            each.labels(actor.name).set_function(count)
        self._start_seconds = histogram(
            registry,
            "kubelet_pod_start_sli_duration_seconds",
            "From the first sight of a bound pod to the acknowledgement of its Running status.",
        )
        self._rejections = counter(
            registry, "kubelet_admission_rejections_total", "Pods refused by a node.", ["reason"]
        )

    def take(self, outbox: Outbox) -> None:
        """Take over what the kubelets have counted."""
        for seconds in outbox.start_seconds:
            self._start_seconds.observe(seconds)
        outbox.start_seconds.clear()
        for reason, count in outbox.rejections.items():
            self._rejections.labels(reason).inc(count)
        outbox.rejections.clear()

    def close(self) -> None:
        for each in self._gauges:
            each.remove(self._actor_name)
