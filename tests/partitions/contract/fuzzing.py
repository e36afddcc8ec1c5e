"""Requests that nobody in his right mind would send: bytes for every method, from a seed.

A third is noise, or a sound request with bytes flipped, cut or doubled; a third are messages whose fields have values
at their limits; a third are objects and patches as people write them, with one thing in them replaced.
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

import msgpack
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from ursa.proto import ursa_pb2 as pb
from ursa.proto.kinds import KINDS
from ursa.proto.objects import Object
from ursa.proto.sessions import METHODS

from .objects import config, namespace, pod, tenant

# Messages sent on one stream of a case.
STREAM_MESSAGES_MAX = 3
# Deep enough for whatever recurses, small enough to be made quickly.
NESTED = 3000

_RESOURCES = [kind.resource for kind in KINDS]
_SELECTORS = [
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
_REVISIONS = ["0", "1", "3", "-1", "99999", str(2**63), str(2**64), "9" * 400, "1e3", "\u0663", " 1", "0x1"]
_WORDS = [
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
_NUMBERS = [0, 1, 2, 3, 5, 255, 257, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1]
_VALUES: list[Any] = [
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
_MSGPACK = [
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


class Case(NamedTuple):
    """What is sent: to a unary method one message, on a stream some, of which `reads` replies are read at most."""

    method: str
    messages: tuple[bytes, ...]
    reads: int

    def __repr__(self) -> str:
        shown = [data if len(data) < 2000 else data[:2000] + b"..." for data in self.messages]
        return f"Case({self.method}, {shown}, reads={self.reads})"


class Fuzz:
    """`tokens`: continue tokens that some partition once gave."""

    def __init__(self, seed: int, tokens: list[str]) -> None:
        self.random = Random(seed)
        self._words = [*_WORDS, *_SELECTORS, *_REVISIONS, *_RESOURCES, *tokens]

    def case(self) -> Case:
        random = self.random
        method = METHODS[random.choice(_METHODS)]
        count = random.randint(1, STREAM_MESSAGES_MAX) if method.streams_requests else 1
        messages = tuple(self._bytes(method.request) for _ in range(count))
        return Case(method.name, messages, random.choice((0, 1, 5)))

    def _bytes(self, of: type[Message]) -> bytes:
        kind = self.random.randrange(9)
        if kind == 0:
            return self.random.randbytes(self.random.choice((0, 1, 2, 5, 30, 300)))
        if kind <= 2:
            return self._spoilt(self._sound(of).SerializeToString())
        if kind <= 5:
            return self._filled(of(), 0).SerializeToString()
        return self._sound(of).SerializeToString()

    def _spoilt(self, data: bytes) -> bytes:
        random = self.random
        spoilt = bytearray(data)
        for _ in range(random.randint(1, 4)):
            at = random.randrange(len(spoilt) + 1)
            match random.randrange(4):
                case 0 if at < len(spoilt):
                    spoilt[at] ^= 1 << random.randrange(8)
                case 1:
                    del spoilt[at : at + random.randint(1, 8)]
                case 2:
                    spoilt[at:at] = spoilt[max(0, at - random.randint(1, 40)) : at]
                case _:
                    spoilt[at:at] = random.choice((b"\xff", b"\x00", struct.pack("<Q", random.getrandbits(64))))
        return bytes(spoilt)

    # ------------------------------------------------------------------------------------------- fields at their limits

    def _filled(self, message: Message, depth: int) -> Message:
        for field in message.DESCRIPTOR.fields:
            if self.random.random() < 0.55:
                self._fill(message, field, depth)
        return message

    def _fill(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        random = self.random
        if field.is_repeated:
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                for _ in range(random.choice((0, 1, 3))):
                    getattr(message, field.name)[random.choice(self._words)] = random.choice(self._words)
                return
            for _ in range(random.choice((0, 1, 2, 2, 300))):
                if field.message_type is None:
                    getattr(message, field.name).append(self._scalar(field))
                elif depth < 4:
                    self._filled(getattr(message, field.name).add(), depth + 1)
        elif field.message_type is not None:
            if depth < 4:
                self._filled(getattr(message, field.name), depth + 1)
        else:
            setattr(message, field.name, self._scalar(field))

    def _scalar(self, field: FieldDescriptor) -> Any:
        random = self.random
        if field.type == FieldDescriptor.TYPE_STRING:
            likely = {"resource": _RESOURCES, "resource_version": _REVISIONS, "name": ["a", "b"]}.get(field.name)
            return random.choice(likely if likely and random.random() < 0.7 else self._words)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return random.choice(_MSGPACK) if random.random() < 0.5 else self._packed(random.choice(_VALUES))
        if field.type == FieldDescriptor.TYPE_BOOL:
            return random.random() < 0.5
        if field.type == FieldDescriptor.TYPE_ENUM:
            return random.choice((0, 1, 2, 3, 99, -1, 2**31 - 1))
        number = random.choice(_NUMBERS)
        if field.type in (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_INT32):
            bits = 63 if field.type == FieldDescriptor.TYPE_INT64 else 31
            return random.choice((1, -1)) * (number % 2**bits)
        return number % (2**64 if field.type == FieldDescriptor.TYPE_UINT64 else 2**32)

    # ---------------------------------------------------------------------------------- as people write it, but for one

    def _sound(self, of: type[Message]) -> Message:
        maker = _SOUND.get(of)
        return maker(self) if maker is not None else self._filled(of(), 0)

    def _manifest(self) -> dict[str, Any]:
        manifest = copy.deepcopy(self.random.choice(_MANIFESTS))
        for _ in range(self.random.choice((0, 1, 1, 2))):
            self._replace_one(manifest)
        return manifest

    def _replace_one(self, value: Any) -> None:
        """Something in it, at any depth, becomes something else; or something is added."""
        random = self.random
        while True:
            if isinstance(value, dict) and value:
                at: Any = random.choice(list(value))
            elif isinstance(value, list) and value:
                at = random.randrange(len(value))
            else:
                return
            inner = value[at]
            if isinstance(inner, dict | list) and inner and random.random() < 0.75:
                value = inner
                continue
            if isinstance(value, dict) and random.random() < 0.2:
                at = random.choice(self._words)
            value[at] = copy.deepcopy(random.choice(_VALUES))
            return

    def _object(self) -> pb.Object:
        """Put together by hand: what a client with a broken encoder sends."""
        manifest = self._manifest()
        message = pb.Object()
        text = {"apiVersion": "api_version", "kind": "kind"}
        for name, field in text.items():
            if isinstance(manifest.get(name), str):
                setattr(message, field, manifest[name])
        if isinstance(manifest.get("metadata"), dict):
            try:
                metadata = Object.from_dict({"metadata": manifest["metadata"]}).message.metadata
                message.metadata.CopyFrom(metadata)
            except Exception:  # noqa: BLE001 - then it is nameless
                message.metadata.name = "a"
        if self.random.random() < 0.2:
            self._filled(message.metadata, 3)
        for name in ("spec", "status"):
            if name in manifest:
                setattr(message, name, self._packed(manifest[name]))
        rest = {name: value for name, value in manifest.items() if name not in (*text, "metadata", "spec", "status")}
        if rest:
            message.rest = self._packed(rest)
        return message

    def _packed(self, value: Any) -> bytes:
        try:
            return msgpack.packb(value)
        except (ValueError, TypeError, OverflowError):
            return b"\xc1"

    def _target(self) -> pb.GetRequest:
        target = pb.GetRequest(tenant="system", namespace="default", name=self.random.choice(("a", "b", "c")))
        target.resource = self.random.choice(("configmaps", "pods", "deployments.apps"))
        return target

    def _operation(self) -> pb.Operation:
        random = self.random
        operation = pb.Operation(return_object=random.random() < 0.5, dry_run=random.random() < 0.1)
        operation.field_manager = random.choice(("", "test"))
        operation.field_validation = random.choice(("", "", "Strict", "Warn"))
        verb = random.randrange(6)
        if verb <= 1:
            message = self._object()
            (operation.create if verb else operation.update).object.CopyFrom(message)
            operation.resource = next((k.resource for k in KINDS if k.kind == message.kind), "pods")
            if not verb:
                operation.update.subresource = random.choice(("", "status", "scale"))
            return operation
        target = self._target()
        operation.resource = target.resource
        if verb == 2:
            operation.delete.target.CopyFrom(target)
            operation.delete.grace_seconds = random.choice((0, 1, -1, 2**62))
            operation.delete.propagation = random.choice(("", "Background", "Foreground", "Orphan", "x"))
        elif verb == 3:
            self._filled(operation.bind, 2)
            operation.bind.target.CopyFrom(target)
        else:
            operation.patch.target.CopyFrom(target)
            operation.patch.type = random.randrange(4)
            operation.patch.subresource = random.choice(("", "", "status", "scale"))
            operation.patch.force = random.random() < 0.5
            operation.patch.body = self._packed(self._patch(operation.patch.type))
        return operation

    def _patch(self, kind: int) -> Any:
        random = self.random
        if kind != pb.Patch.JSON:
            return self._manifest()
        changes = []
        for _ in range(random.choice((0, 1, 3))):
            change = {
                "op": random.choice(("add", "remove", "replace", "move", "copy", "test", "x", 5)),
                "path": random.choice(_POINTERS),
                "from": random.choice(_POINTERS),
                "value": random.choice(_VALUES),
            }
            if random.random() < 0.2:
                del change[random.choice(list(change))]
            changes.append(change)
        return changes

    def _batch(self) -> pb.MutateRequest:
        count = self.random.choice((0, 1, 1, 2, 5))
        return pb.MutateRequest(operations=[self._operation() for _ in range(count)], batch=self.random.getrandbits(64))

    def _selection(self) -> pb.Selection:
        random = self.random
        selection = pb.Selection(resource=random.choice(("configmaps", "pods", "pods", "namespaces")))
        if random.random() < 0.5:
            selection.label_selector = random.choice(_SELECTORS)
        if random.random() < 0.4:
            selection.field_selector = random.choice(_SELECTORS)
        return selection

    def _list(self) -> pb.ListRequest:
        random = self.random
        request = pb.ListRequest(selection=self._selection(), limit=random.choice((0, 1, 2, 2**32 - 1)))
        if random.random() < 0.5:
            request.resource_version = random.choice(_REVISIONS[:4])
            request.exact, request.not_older_than = random.random() < 0.5, random.random() < 0.3
        if random.random() < 0.3:
            request.continue_token = random.choice(self._words)
        request.incarnation = random.choice(("", "", "one", "two"))
        return request

    def _watch(self) -> pb.WatchRequest:
        random = self.random
        request = pb.WatchRequest()
        for _ in range(random.choice((0, 1, 1, 2, 20))):
            start = request.start.add(id=random.choice((0, 1, 2, 3, 2**32 - 1)), selection=self._selection())
            start.resource_version = random.choice((0, 0, 1, 2, *_NUMBERS))
            start.initial_events = random.random() < 0.4
            start.incarnation = random.choice(("", "", "one", "two"))
        for _ in range(random.choice((0, 0, 1))):
            request.stop.add(id=random.choice((0, 1, 7)))
        return request


_SOUND: dict[type[Message], Callable[[Fuzz], Message]] = {
    pb.GetRequest: Fuzz._target,
    pb.ListRequest: Fuzz._list,
    pb.MutateRequest: Fuzz._batch,
    pb.WatchRequest: Fuzz._watch,
}
# Those of administration seldom: they take their time.
_METHODS = ["Get", "List", "Write", "Mutate", "Watch"] * 6 + list(METHODS)
_POINTERS = [
    "",
    "/",
    "/metadata/labels/x",
    "/spec/containers/0",
    "/spec/containers/-",
    "/a/~2",
    "x",
    "/data/payload",
    7,
]
_DEPLOYMENT = {
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
_MANIFESTS: list[dict[str, Any]] = [
    config("a", "text", labels={"x": "1"}, annotations={"y": "2"}, finalizers=["ursa.dev/one"]),
    config("b", generateName="b-"),
    pod("a", labels={"app": "web"}),
    {
        **pod("c", ownerReferences=[{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "u", "controller": True}]),
        "spec": _DEPLOYMENT["spec"]["template"]["spec"],  # type: ignore[index]
        "status": {"phase": "Running", "containerStatuses": [{"name": "main", "ready": True}]},
    },
    _DEPLOYMENT,
    {**_DEPLOYMENT, "kind": "ReplicaSet"},
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
]
