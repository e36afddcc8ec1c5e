"""Manifests to spoil that came later than the first: custom kinds and their objects, quotas, what apply has managed."""

from __future__ import annotations

from random import Random
from typing import Any

DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
WIDGETS = "widgets.example.com"

_PART = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 9},
        "weight": {"type": "integer", "minimum": 0, "default": 1, "multipleOf": 1},
    },
}
_SPEC = {
    "type": "object",
    "properties": {
        "size": {"type": "integer", "format": "int32", "default": 1},
        "color": {"type": "string", "enum": ["red", "green"], "nullable": True},
        "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"minimum": 1}, {"pattern": "%$"}]},
        "parts": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": _PART,
        },
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "more": {"type": "object", "additionalProperties": {"type": "number"}, "maxProperties": 3},
        "when": {"type": "string", "format": "date-time"},
        "template": {"type": "object", "x-kubernetes-embedded-resource": True},
    },
}
DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": WIDGETS},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "singular": "widget", "shortNames": ["wi"]},
        "conversion": {"strategy": "None"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": _SPEC, "status": {"type": "object", "properties": {}}},
                    }
                },
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.size",
                        "statusReplicasPath": ".status.size",
                        "labelSelectorPath": ".spec.free.selector",
                    },
                },
                "selectableFields": [{"jsonPath": ".spec.color"}],
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
            }
        ],
    },
}
WIDGET: dict[str, Any] = {
    "apiVersion": "example.com/v1",
    "kind": "Widget",
    "metadata": {"name": "a", "tenant": "system", "namespace": "default"},
    "spec": {
        "size": 2,
        "color": "red",
        "port": "50%",
        "parts": [{"name": "x"}, {"name": "y", "weight": 3}],
        "tags": ["one", "two"],
        "free": {"selector": "app=web", "any": [1, {"a": None}]},
        "more": {"a": 1.5},
        "when": "2026-01-01T00:00:00Z",
        "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}},
    },
    "status": {"size": 1},
}
_QUOTA = {"hard": {"pods": "5", "requests.cpu": "1", "count/widgets.example.com": "3", "limits.memory": "1Gi"}}
MANIFESTS: list[dict[str, Any]] = [
    *[DEFINITION] * 2,
    *[WIDGET] * 3,
    {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "a", "tenant": "system", "namespace": "default"},
        "spec": _QUOTA,
    },
    {
        "apiVersion": "ursa.dev/v1",
        "kind": "TenantQuota",
        "metadata": {"name": "a", "tenant": "system"},
        "spec": _QUOTA,
    },
    {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "a"},
        "value": 1000,
        "globalDefault": True,
        "preemptionPolicy": "Never",
    },
    {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "a"},
        "provisioner": "ursa.dev/hollow",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": ["a", "b"]}]}],
    },
    {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "a", "tenant": "system"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "claimRef": {"namespace": "default", "name": "a"},
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
                }
            },
        },
        "status": {"phase": "Available"},
    },
    {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "a", "tenant": "system", "namespace": "default"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "a",
            "selector": {"matchLabels": {"app": "web"}},
            "resources": {"requests": {"storage": "1Gi"}},
        },
        "status": {"phase": "Pending"},
    },
]


def applied(random: Random) -> dict[str, Any]:
    """Some of a widget, as one of several managers says it, so that they meet."""
    spec = {name: value for name, value in WIDGET["spec"].items() if random.random() < 0.4}
    spec["size"] = random.choice((1, 2, 3))
    parts = [{"name": random.choice("xyz"), "weight": random.choice((1, 2))} for _ in range(random.randrange(4))]
    return {**{name: WIDGET[name] for name in ("apiVersion", "kind", "metadata")}, "spec": {**spec, "parts": parts}}
