"""Rules for what is written: defaults, validation, and the placement ledger.

Each kind has a `Strategy`; those without rules of their own share the default one.
"""

from __future__ import annotations

from ...proto.kinds import KINDS
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
from .strategy import Strategy
from .workloads import DeploymentStrategy, WorkloadStrategy

__all__ = ["Ledger", "Quotas", "Strategy", "strategies"]

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
}


def strategies() -> dict[str, Strategy]:
    """A strategy for every kind, by resource."""
    return {kind.resource: _STRATEGIES.get(kind.kind, Strategy)(kind) for kind in KINDS}
