"""Rules for what is written: defaults, validation, and the placement ledger.

Each kind has a `Strategy`; those without rules of their own share the default one.
"""

from __future__ import annotations

from ...proto.kinds import BY_KIND, KINDS, Role
from .budgets import BudgetStrategy
from .chain import Admission, Session, Unanswered
from .daemonsets import DaemonSetStrategy
from .definitions import DefinitionStrategy
from .endpoints import EndpointSliceStrategy, EndpointsStrategy
from .jobs import CronJobStrategy, JobStrategy
from .ledger import Ledger
from .node_pods import NodePodStrategy
from .others import (
    ConfigMapStrategy,
    EventStrategy,
    NamespaceStrategy,
    NodeStrategy,
    PlacementStrategy,
    SecretStrategy,
)
from .partition_entries import PartitionEntryStrategy
from .pods import PodStrategy
from .priorities import PriorityClassStrategy
from .quota_rules import QuotaStrategy
from .quotas import Quotas
from .reviews import MutatingPlugin, Plugin, Review, ValidatingPlugin
from .revisions import RevisionStrategy
from .services import ServiceStrategy
from .statefulsets import StatefulSetStrategy
from .strategy import Strategy
from .tenants import Tenants, TenantStrategy
from .timing import AdmissionMetrics
from .volumes import ClaimStrategy, StorageClassStrategy, VolumeStrategy
from .webhook_calls import WebhookCall, WebhookCaller, Webhooks, no_webhooks
from .webhook_rules import WebhookStrategy
from .webhooks import Hooks
from .workloads import DeploymentStrategy, WorkloadStrategy

__all__ = [
    "Admission",
    "AdmissionMetrics",
    "Hooks",
    "Ledger",
    "MutatingPlugin",
    "Plugin",
    "PodStrategy",
    "PriorityClassStrategy",
    "Quotas",
    "Review",
    "ServiceStrategy",
    "Session",
    "Strategy",
    "Tenants",
    "Unanswered",
    "ValidatingPlugin",
    "WebhookCall",
    "WebhookCaller",
    "Webhooks",
    "no_webhooks",
    "strategies",
]

_STRATEGIES: dict[str, type[Strategy]] = {
    "Namespace": NamespaceStrategy,
    "Tenant": TenantStrategy,
    "Pod": PodStrategy,
    "ReplicaSet": WorkloadStrategy,
    "Deployment": DeploymentStrategy,
    "StatefulSet": StatefulSetStrategy,
    "DaemonSet": DaemonSetStrategy,
    "ControllerRevision": RevisionStrategy,
    "Job": JobStrategy,
    "CronJob": CronJobStrategy,
    "PodDisruptionBudget": BudgetStrategy,
    "PriorityClass": PriorityClassStrategy,
    "StorageClass": StorageClassStrategy,
    "PersistentVolume": VolumeStrategy,
    "PersistentVolumeClaim": ClaimStrategy,
    "Service": ServiceStrategy,
    "Endpoints": EndpointsStrategy,
    "EndpointSlice": EndpointSliceStrategy,
    "ConfigMap": ConfigMapStrategy,
    "Secret": SecretStrategy,
    "ResourceQuota": QuotaStrategy,
    "TenantQuota": QuotaStrategy,
    "Event": EventStrategy,
    "Node": NodeStrategy,
    "Placement": PlacementStrategy,
    "TenantPartition": PartitionEntryStrategy,
    "ResourcePartition": PartitionEntryStrategy,
    "CustomResourceDefinition": DefinitionStrategy,
    "MutatingWebhookConfiguration": WebhookStrategy,
    "ValidatingWebhookConfiguration": WebhookStrategy,
}


def strategies(role: Role, partition: str) -> dict[str, Strategy]:
    """A strategy for every kind, by resource, as it is in this partition."""
    found = {kind.resource: _STRATEGIES.get(kind.kind, Strategy)(kind) for kind in KINDS}
    pods, classes = BY_KIND["Pod"], found[BY_KIND["PriorityClass"].resource]
    if role is Role.RESOURCE:
        found[pods.resource] = NodePodStrategy(pods, partition)
    else:
        assert isinstance(classes, PriorityClassStrategy)
        found[pods.resource] = PodStrategy(pods, classes.classes)
    return found
