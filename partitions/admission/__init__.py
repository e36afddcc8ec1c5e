"""Rules for what is written: defaults, validation, and the placement ledger.

Each kind has a `Strategy`; those without rules of their own share the default one.
"""

from __future__ import annotations

from ...proto.kinds import KINDS
from .chain import Admission, Session, Unanswered
from .definitions import DefinitionStrategy
from .ledger import Ledger
from .others import (
    ConfigMapStrategy,
    EventStrategy,
    NamespaceStrategy,
    NodeStrategy,
    PlacementStrategy,
    SecretStrategy,
    TenantStrategy,
)
from .pods import PodStrategy
from .quota_rules import QuotaStrategy
from .quotas import Quotas
from .reviews import MutatingPlugin, Plugin, Review, ValidatingPlugin
from .strategy import Strategy
from .timing import AdmissionMetrics
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
    "Quotas",
    "Review",
    "Session",
    "Strategy",
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
    "ConfigMap": ConfigMapStrategy,
    "Secret": SecretStrategy,
    "ResourceQuota": QuotaStrategy,
    "TenantQuota": QuotaStrategy,
    "Event": EventStrategy,
    "Node": NodeStrategy,
    "Placement": PlacementStrategy,
    "CustomResourceDefinition": DefinitionStrategy,
    "MutatingWebhookConfiguration": WebhookStrategy,
    "ValidatingWebhookConfiguration": WebhookStrategy,
}


def strategies() -> dict[str, Strategy]:
    """A strategy for every kind, by resource."""
    return {kind.resource: _STRATEGIES.get(kind.kind, Strategy)(kind) for kind in KINDS}
