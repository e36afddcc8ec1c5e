"""The controllers: of tenants' objects in a tenant partition, of nodes and placements in a resource partition."""

from __future__ import annotations

from .managers import ResourceControllerManager, TenantControllerManager
from .options import ResourceControllerOptions, TenantControllerOptions

__all__ = [
    "ResourceControllerManager",
    "ResourceControllerOptions",
    "TenantControllerManager",
    "TenantControllerOptions",
]
