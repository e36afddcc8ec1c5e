"""The manifest of a hollow node."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from ...proto.kinds import URSA_GROUP
from ...proto.objects import Object

KUBELET_VERSION = f"v1.0.0+{URSA_GROUP}"


def hollow_node(
    name: str,
    *,
    cpu: str = "4",
    memory: str = "32Gi",
    pods: int = 110,
    labels: Mapping[str, str] | None = None,
    extended: Mapping[str, str | int] | None = None,
) -> Object:
    """A Node as its kubelet registers it: all of its capacity is allocatable.

    `extended`: further resources, like {"ursa.dev/gpu-milli": 8000}. The times of its conditions are set when it
    registers.
    """
    resources = {"cpu": cpu, "memory": memory, "pods": pods, **(extended or {})}
    digest = hashlib.sha256(name.encode()).hexdigest()  # Equal names give equal machines, in every process.
    manifest = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                **(labels or {}),
            },
        },
        "spec": {},
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "hollow"}],
            "addresses": [
                {"type": "InternalIP", "address": _address(digest)},
                {"type": "Hostname", "address": name},
            ],
            # Kubernetes' clients refuse a node that lacks one of these.
            "nodeInfo": {
                "machineID": digest[:32],
                "systemUUID": digest[:32],
                "bootID": digest[32:],
                "kernelVersion": "hollow",
                "osImage": "hollow",
                "containerRuntimeVersion": "hollow://1.0.0",
                "kubeletVersion": KUBELET_VERSION,
                "kubeProxyVersion": KUBELET_VERSION,
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
        },
    }
    return Object.from_dict(manifest)


def _address(digest: str) -> str:
    """Somewhere in 10.0.0.0/8. Two of many nodes may share one: nothing connects to it."""
    return ".".join(["10", *(str(int(digest[at : at + 2], 16)) for at in (0, 2, 4))])
