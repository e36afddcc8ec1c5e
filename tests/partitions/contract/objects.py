"""Manifests that the tests write."""

from __future__ import annotations

from typing import Any


def pod(name: str, *, tenant: str = "system", namespace: str = "default", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "tenant": tenant, "namespace": namespace, **metadata},
        "spec": {"containers": [{"name": "main", "image": "app:1"}]},
    }


def config(
    name: str, payload: str = "", *, tenant: str = "system", namespace: str = "default", **metadata: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "tenant": tenant, "namespace": namespace, **metadata},
        "data": {"payload": payload},
    }


def tenant(name: str) -> dict[str, Any]:
    return {"apiVersion": "ursa.dev/v1", "kind": "Tenant", "metadata": {"name": name}, "spec": {}}


def namespace(name: str, tenant: str = "system") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "tenant": tenant}}
