"""What the fuzz puts into requests: words, numbers and values at their limits, and manifests to spoil."""

from __future__ import annotations

from typing import Any

import msgpack
from ursa.proto.kinds import KINDS

from . import fuzzing_kinds as kinds
from .objects import config, namespace, pod, tenant

# Deep enough for whatever recurses, small enough to be made quickly.
NESTED = 3000

RESOURCES = [*(kind.resource for kind in KINDS), kinds.WIDGETS]
SELECTORS = [
    "app=web",
    "app in (a,b),!c",
    "a in b",
    "a in (",
    ",,,",
    "a==b==c",
    "=",
    "!",
    "a notin ()",
    "(((((",
    "metadata.name=a",
    "spec.nodeName=",
    "spec.nodeName!=n1,status.phase=Pending",
    "a=" + "b" * 5000,
    ",".join(f"k{number}=v" for number in range(2000)),
    "a in (" + ",".join(map(str, range(3000))) + ")",
]
SOUND_SELECTORS = ["app=web", "app in (a,b),!c", "x", "!x", "x>0", "app!=web"]
SOUND_FIELDS = ["metadata.name=a", "metadata.name!=a", "metadata.namespace=default"]
REVISIONS = ["0", "1", "3", "-1", "99999", str(2**63), str(2**64), "9" * 400, "1e3", "\u0663", " 1", "0x1"]
WORDS = [
    "",
    "a",
    "b",
    "default",
    "kube-system",
    "system",
    "status",
    "scale",
    "Strict",
    "Background",
    "Foreground",
    "Orphan",
    "one",
    "A_B",
    "..",
    "/",
    "a/b",
    "a//b",
    "\0",
    "a\nb",
    "\u00e9",
    "\U0001f600",
    "\u202e",
    "x" * 64,
    "x" * 300,
    "x" * 70_000,
]
NUMBERS = [0, 1, 2, 3, 5, 255, 257, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1]
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    float("nan"),
    float("inf"),
    2**63,
    -(2**63),
    "",
    "text",
    "100m",
    "-5",
    "1e99999",
    "9" * 5000,
    b"bytes",
    [],
    [None],
    [[]],
    [1, "a", None],
    {},
    {"": ""},
    {"a": {"b": []}},
    {"matchLabels": 3},
    {1: 2},
    {None: None},
    {b"k": 1},
    ["x"] * 3000,
    {f"k{number}": number for number in range(3000)},
    msgpack.Timestamp(1, 2),
    msgpack.ExtType(5, b"ext"),
]
MSGPACK = [
    b"",
    b"\xc1",
    b"\x80",
    b"\xc0",
    b"\x93\x01",
    b"\xdf\xff\xff\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\x91" * NESTED + b"\xc0",
    b"\x81\xa1a" * NESTED + b"\xc0",
    b"\x81\xc0\xc0",
    b"\x81\x91\x01\x01",
    b"\xa1\xff",
    b"\x82\xa1a\x01\xa1a\x02",
    b"\x80\x80",
]


SMALL_PATCHES: list[Any] = [
    {"metadata": {"labels": {"x": "2", "y": None}}},
    {"metadata": {"finalizers": ["ursa.dev/two"]}},
    {"metadata": {"finalizers": None, "annotations": None}},
    {"spec": {"replicas": 3, "size": 4}},
    {"spec": {"containers": [{"name": "main", "image": "app:2"}], "parts": [{"name": "z"}]}},
    {"status": {"phase": "Running", "size": 4, "conditions": [{"type": "Ready", "status": "True"}]}},
    {"data": {"payload": None, "other": "x"}},
    {},
]
POINTERS = [
    "",
    "/",
    "/metadata/labels/x",
    "/spec/containers/0",
    "/spec/containers/-",
    "/a/~2",
    "x",
    "/data/payload",
    "/spec/size",
    "/spec/parts/0/name",
    "/spec/template/spec/containers/0/image",
    "/metadata/finalizers",
    7,
]
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "a", "tenant": "system", "namespace": "default"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}, "matchExpressions": []},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {
                        "name": "main",
                        "image": "app:1",
                        "ports": [{"containerPort": 80, "name": "http"}],
                        "env": [{"name": "A", "value": "1"}],
                        "resources": {"requests": {"cpu": "100m", "memory": "200Mi"}, "limits": {"cpu": "1"}},
                    }
                ],
                "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoSchedule"}],
                "nodeSelector": {"zone": "a"},
            },
        },
    },
    "status": {"conditions": [{"type": "Available", "status": "True"}]},
}
MANIFESTS: list[dict[str, Any]] = [
    config("a", "text", labels={"x": "1"}, annotations={"y": "2"}, finalizers=["ursa.dev/one"]),
    config("b", generateName="b-"),
    pod("a", labels={"app": "web"}),
    {
        **pod("c", ownerReferences=[{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "u", "controller": True}]),
        "spec": DEPLOYMENT["spec"]["template"]["spec"],  # type: ignore[index]
        "status": {"phase": "Running", "containerStatuses": [{"name": "main", "ready": True}]},
    },
    DEPLOYMENT,
    {**DEPLOYMENT, "kind": "ReplicaSet"},
    namespace("team"),
    tenant("acme"),
    {**config("a"), "kind": "Secret", "type": "Opaque"},
    {
        **config("a"),
        "kind": "Event",
        "involvedObject": {"kind": "Pod", "name": "a", "uid": "u", "namespace": "default"},
        "reason": "Started",
        "type": "Normal",
        "count": 1,
    },
    {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "a", "tenant": "system", "namespace": "default"},
        "spec": {"holderIdentity": "me", "leaseDurationSeconds": 40, "renewTime": "2026-01-01T00:00:00Z"},
    },
    {"apiVersion": "ursa.dev/v1", "kind": "TenantPartition", "metadata": {"name": "tp-9"}, "spec": {"address": "x:1"}},
    *kinds.MANIFESTS,
]
