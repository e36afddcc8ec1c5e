"""Requests that nobody in his right mind would send: bytes for every method, from a seed.

A quarter is noise, or a sound request with bytes flipped, cut or doubled; a quarter are messages whose fields have
values at their limits; half are objects and patches as people write them, mostly with something in them replaced. So a
good part of the writes is carried out, and what comes next meets what they have left.
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

from . import fuzzing_kinds as kinds
from . import fuzzing_values as values

# Messages sent on one stream of a case.
STREAM_MESSAGES_MAX = 3


class Case(NamedTuple):
    """What is sent: to a unary method one message, on a stream some, of which `reads` replies are read at most."""

    method: str
    messages: tuple[bytes, ...]
    reads: int

    def __repr__(self) -> str:
        shown = [data if len(data) < 2000 else data[:2000] + b"..." for data in self.messages]
        return f"Case({self.method}, {shown}, reads={self.reads})"


class Given(NamedTuple):
    """What some partition once gave: continue tokens, positions and names of writers."""

    tokens: list[str]
    positions: list[str]
    writers: list[bytes]


class Fuzz:
    def __init__(self, seed: int, given: Given) -> None:
        self.random = Random(seed)
        self._given = given
        self._words = [
            *values.WORDS,
            *values.SELECTORS,
            *values.REVISIONS,
            *values.RESOURCES,
            *given.tokens,
            *given.positions,
        ]

    def case(self) -> Case:
        random = self.random
        method = METHODS[random.choice(_METHODS)]
        count = random.randint(1, STREAM_MESSAGES_MAX) if method.streams_requests else 1
        messages = tuple(self._bytes(method.request) for _ in range(count))
        if method.streams_requests and random.random() < 0.2:
            messages += messages  # As it was, once more.
        return Case(method.name, messages, random.choice((0, 1, 5)))

    def _bytes(self, of: type[Message]) -> bytes:
        kind = self.random.randrange(12)
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
            likely = {"resource": values.RESOURCES, "resource_version": values.REVISIONS, "name": ["a", "b"]}.get(
                field.name
            )
            return random.choice(likely if likely and random.random() < 0.7 else self._words)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return (
                random.choice(values.MSGPACK) if random.random() < 0.5 else self._packed(random.choice(values.VALUES))
            )
        if field.type == FieldDescriptor.TYPE_BOOL:
            return random.random() < 0.5
        if field.type == FieldDescriptor.TYPE_ENUM:
            return random.choice((0, 1, 2, 3, 99, -1, 2**31 - 1))
        number = random.choice(values.NUMBERS)
        if field.type in (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_INT32):
            bits = 63 if field.type == FieldDescriptor.TYPE_INT64 else 31
            return random.choice((1, -1)) * (number % 2**bits)
        return number % (2**64 if field.type == FieldDescriptor.TYPE_UINT64 else 2**32)

    # ---------------------------------------------------------------------------------- as people write it, but for one

    def _sound(self, of: type[Message]) -> Message:
        maker = _SOUND.get(of)
        return maker(self) if maker is not None else self._filled(of(), 0)

    def _manifest(self) -> dict[str, Any]:
        manifest = copy.deepcopy(self.random.choice(values.MANIFESTS))
        for _ in range(self.random.choice((0, 0, 1, 1, 2))):
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
            value[at] = copy.deepcopy(random.choice(values.VALUES))
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
        if self.random.random() < 0.1:
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
        target = pb.GetRequest(tenant="system", namespace="default", name=self.random.choice(("a", "a", "a", "b", "c")))
        target.resource = self.random.choice(("configmaps", "pods", "deployments.apps", kinds.WIDGETS, kinds.WIDGETS))
        if self.random.random() < 0.05:
            return pb.GetRequest(resource=kinds.DEFINITIONS, name=kinds.WIDGETS)
        if self.random.random() < 0.1:
            target.subresource = self.random.choice(("scale", "status", "x"))
        return target

    def _operation(self) -> pb.Operation:
        random = self.random
        operation = pb.Operation(return_object=random.random() < 0.5, dry_run=random.random() < 0.1)
        operation.field_manager = random.choice(("", "test", "other")) if random.random() < 0.95 else "test" * 50
        operation.field_validation = random.choice(("", "", "Strict", "Warn"))
        if random.random() < 0.3:
            operation.request_id = random.choice(_REQUEST_IDS) if random.random() < 0.9 else b"x" * 33
        verb = random.randrange(9)
        if verb <= 1:
            message = self._object()
            (operation.create if verb else operation.update).object.CopyFrom(message)
            operation.resource = _RESOURCE_OF.get(message.kind, "pods")
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
        elif verb == 4:
            operation.delete_collection.selection.CopyFrom(self._selection())
            if operation.delete_collection.selection.resource == "namespaces":  # In which all the others are.
                operation.delete_collection.selection.resource = "secrets"
            operation.resource = operation.delete_collection.selection.resource
            operation.delete_collection.continue_token = random.choice(("", "", *self._given.tokens))
        elif verb == 5:
            self._filled(operation.evict, 2)
            operation.evict.target.CopyFrom(target)
        else:
            operation.patch.target.CopyFrom(target)
            operation.patch.type = random.randrange(4)
            operation.patch.subresource = random.choice(("", "", "", "status", "scale"))
            operation.patch.force = random.random() < (0.5 if operation.patch.type == pb.Patch.APPLY else 0.05)
            operation.patch.body = self._packed(self._patch(operation.patch.type))
        return operation

    def _patch(self, kind: int) -> Any:
        random = self.random
        if kind == pb.Patch.APPLY and random.random() < 0.5:
            return kinds.applied(random)
        if kind != pb.Patch.JSON and random.random() < 0.4:
            return random.choice(values.SMALL_PATCHES)
        if kind != pb.Patch.JSON:
            return self._manifest()
        changes = []
        for _ in range(random.choice((0, 1, 3))):
            change = {
                "op": random.choice(("add", "remove", "replace", "move", "copy", "test", "x", 5)),
                "path": random.choice(values.POINTERS),
                "from": random.choice(values.POINTERS),
                "value": random.choice(values.VALUES),
            }
            if random.random() < 0.2:
                del change[random.choice(list(change))]
            changes.append(change)
        return changes

    def _batch(self) -> pb.MutateRequest:
        count = self.random.choice((0, 1, 2, 5, 10))
        random = self.random
        batch = pb.MutateRequest(operations=[self._operation() for _ in range(count)], batch=random.getrandbits(64))
        if random.random() < 0.3:
            batch.writer = random.choice((b"", b"one", *self._given.writers))
            batch.stream = random.choice((0, 1, 2, 2**64 - 1))
        if random.random() < 0.1:
            batch.resent_behind = random.choice(self._given.positions if random.random() < 0.7 else self._words)
        return batch

    def _selection(self) -> pb.Selection:
        random = self.random
        selection = pb.Selection(resource=random.choice(("configmaps", "pods", "events", "namespaces", kinds.WIDGETS)))
        if random.random() < 0.3:
            selection.label_selector = random.choice((values.SELECTORS, values.SOUND_SELECTORS)[random.random() < 0.6])
        if random.random() < 0.3:
            selection.field_selector = random.choice((values.SELECTORS, values.SOUND_FIELDS)[random.random() < 0.6])
        if random.random() < 0.5:
            selection.tenant, selection.namespace = "system", random.choice(("", "default"))
        return selection

    def _list(self) -> pb.ListRequest:
        random = self.random
        request = pb.ListRequest(selection=self._selection(), limit=random.choice((0, 1, 2, 2**32 - 1)))
        if random.random() < 0.3:
            request.resource_version = random.choice(values.REVISIONS[:4])
            request.exact, request.not_older_than = random.random() < 0.5, random.random() < 0.3
        if random.random() < 0.3:
            request.continue_token = random.choice((self._words, self._given.tokens)[random.random() < 0.7])
        request.incarnation = random.choice(("", "", "", "one", "two"))
        return request

    def _watch(self) -> pb.WatchRequest:
        random = self.random
        request = pb.WatchRequest()
        for _ in range(random.choice((0, 1, 1, 2, 20))):
            start = request.start.add(id=random.randrange(1, 9), selection=self._selection())
            if random.random() < 0.1:
                start.id = random.choice((0, 2**32 - 1))
            start.resource_version = random.choice((0, 0, 0, 1, 2, 5, random.choice(values.NUMBERS)))
            start.initial_events = random.random() < 0.4
            start.incarnation = random.choice(("", "", "", "one", "two"))
        for _ in range(random.choice((0, 0, 1))):
            request.stop.add(id=random.choice((0, 1, 7)))
        return request

    def _of_store(self, request: Message) -> Message:
        """Of administration: a store that is there, mostly, at some revision."""
        random = self.random
        request.store = random.choice(("", "main", "main", "events", "x"))  # type: ignore[attr-defined]
        if "resource_version" in request.DESCRIPTOR.fields_by_name:
            request.resource_version = random.choice(values.NUMBERS)  # type: ignore[attr-defined]
        return request


_SOUND: dict[type[Message], Callable[[Fuzz], Message]] = {
    pb.GetRequest: Fuzz._target,
    pb.ListRequest: Fuzz._list,
    pb.MutateRequest: Fuzz._batch,
    pb.WatchRequest: Fuzz._watch,
    pb.CompactRequest: lambda fuzz: fuzz._of_store(pb.CompactRequest()),
    pb.DefragmentRequest: lambda fuzz: fuzz._of_store(pb.DefragmentRequest()),
    pb.DigestRequest: lambda fuzz: fuzz._of_store(pb.DigestRequest()),
    pb.SnapshotRequest: lambda fuzz: fuzz._of_store(pb.SnapshotRequest()),
}
_RESOURCE_OF = {**{kind.kind: kind.resource for kind in KINDS}, "Widget": kinds.WIDGETS}
_REQUEST_IDS = [b"", b"1", b"2", b"3", b"x" * 32]
# Those of administration seldom: they take their time.
_METHODS = ["Get", "List", "Write", "Mutate", "Watch"] * 6 + list(METHODS)
