"""Objects in Python: a thin, read-only face on the protobuf envelope.

`spec`, `status` and `rest` are decoded when first read, and most pods share their spec with others of the same
ReplicaSet, so decoding goes through a cache: **what it returns is shared and must not be changed**. To change an
object, make another: `with_spec`, `with_status`, `with_metadata`, or `to_dict` and `from_dict`.

A timestamp is milliseconds since 1970, UTC; in a manifest it is RFC 3339.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from random import Random
from typing import Any, NamedTuple

import msgpack

from . import ursa_pb2 as pb
from .errors import BadRequest, Cause, Invalid

_METADATA_TEXT = {
    "name": "name",
    "generateName": "generate_name",
    "namespace": "namespace",
    "tenant": "tenant",
    "uid": "uid",
}
_TOP_LEVEL = ("apiVersion", "kind", "metadata", "spec", "status")


class ObjectKey(NamedTuple):
    """The name of an object within one partition and kind. Parts its scope does not have are empty."""

    tenant: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


# Version 4, and RFC 4122's variant: the 13th digit is 4, and the 17th begins with the bits 10.
_UUID_FIXED_BITS = 0x4000_8000_0000_0000_0000
_UUID_RANDOM_BITS = ~0xF000_C000_0000_0000_0000


def new_uid(random: Random) -> str:
    """A UID in the form of an RFC 4122 version 4 UUID, from the randomness it is handed."""
    digits = (random.getrandbits(128) & _UUID_RANDOM_BITS | _UUID_FIXED_BITS).to_bytes(16, "big").hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def encode(value: Any) -> bytes:
    """A spec, a status or a rest as stored. Equal values built in the same order give equal bytes."""
    return msgpack.packb(value)  # type: ignore[no-any-return]


def decode(data: bytes) -> Any:
    """The inverse of `encode`, into fresh values that the caller may change."""
    return msgpack.unpackb(data) if data else {}


@lru_cache(maxsize=8192)
def decode_shared(data: bytes) -> Any:
    """Like `decode`, but equal bytes give the same value: never change it."""
    return msgpack.unpackb(data) if data else {}


@lru_cache(maxsize=16)
def decode_recent(data: bytes) -> Any:
    """Like `decode_shared`, for contents that are nobody else's, and are read by several one after another."""
    return msgpack.unpackb(data) if data else {}


class Object:
    """An object as read from a partition, or about to be sent to one."""

    __slots__ = ("_key", "_rest", "_spec", "_status", "message", "partition")

    _key: ObjectKey
    _spec: Any
    _status: Any
    _rest: Any

    def __init__(self, message: pb.Object, partition: str = "") -> None:
        self.message = message
        # The partition it was read from; empty for an object made here.
        self.partition = partition

    @classmethod
    def from_bytes(cls, data: bytes, partition: str = "") -> Object:
        return cls(pb.Object.FromString(data), partition)

    @classmethod
    def from_dict(cls, manifest: Mapping[str, Any], partition: str = "") -> Object:
        """An object from its Kubernetes form.

        Raises:
            Invalid: a field of the metadata has the wrong type; all such fields are listed.
        """
        return cls(_message_from_dict(manifest), partition)

    # ------------------------------------------------------------------------------------------------- metadata

    @property
    def api_version(self) -> str:
        return self.message.api_version

    @property
    def kind(self) -> str:
        return self.message.kind

    @property
    def name(self) -> str:
        return self.message.metadata.name

    @property
    def namespace(self) -> str:
        return self.message.metadata.namespace

    @property
    def tenant(self) -> str:
        return self.message.metadata.tenant

    @property
    def uid(self) -> str:
        return self.message.metadata.uid

    @property
    def key(self) -> ObjectKey:
        try:
            return self._key
        except AttributeError:
            metadata = self.message.metadata
            self._key = ObjectKey(metadata.tenant, metadata.namespace, metadata.name)
            return self._key

    @property
    def resource_version(self) -> int:
        """Of the partition it was read from. 0 for an object made here."""
        return self.message.metadata.resource_version

    @property
    def generation(self) -> int:
        return self.message.metadata.generation

    @property
    def creation_ms(self) -> int:
        return self.message.metadata.creation_ms

    @property
    def deletion_ms(self) -> int:
        """When deletion was asked for; 0 if it was not."""
        return self.message.metadata.deletion_ms

    @property
    def labels(self) -> Mapping[str, str]:
        return self.message.metadata.labels

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.message.metadata.annotations

    @property
    def finalizers(self) -> tuple[str, ...]:
        return tuple(self.message.metadata.finalizers)

    @property
    def owner_references(self) -> tuple[pb.OwnerReference, ...]:
        return tuple(self.message.metadata.owner_references)

    @property
    def controller(self) -> pb.OwnerReference | None:
        """The owner that manages this object, if it has one."""
        for owner in self.message.metadata.owner_references:
            if owner.controller:
                return owner
        return None

    # ------------------------------------------------------------------------------------------------- contents

    @property
    def spec(self) -> Any:
        """Decoded and shared: do not change it."""
        try:
            return self._spec
        except AttributeError:
            self._spec = decode_shared(self.message.spec)
            return self._spec

    @property
    def status(self) -> Any:
        """Decoded and shared: do not change it."""
        try:
            return self._status
        except AttributeError:
            self._status = decode_shared(self.message.status)
            return self._status

    @property
    def rest(self) -> Any:
        """Every other top-level field (`data`, `involvedObject`, ...). Decoded and shared: do not change it."""
        try:
            return self._rest
        except AttributeError:
            self._rest = decode_shared(self.message.rest)
            return self._rest

    # --------------------------------------------------------------------------------------------------- change

    def with_spec(self, spec: Any) -> Object:
        return self._replaced(spec=encode(spec))

    def with_status(self, status: Any) -> Object:
        return self._replaced(status=encode(status))

    def with_rest(self, rest: Any) -> Object:
        return self._replaced(rest=encode(rest))

    def with_metadata(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        finalizers: Iterable[str] | None = None,
        owner_references: Iterable[pb.OwnerReference] | None = None,
    ) -> Object:
        """A copy whose given parts of the metadata are replaced as a whole."""
        copy = self._replaced()
        metadata = copy.message.metadata
        if labels is not None:
            metadata.labels.clear()
            metadata.labels.update(labels)
        if annotations is not None:
            metadata.annotations.clear()
            metadata.annotations.update(annotations)
        if finalizers is not None:
            metadata.finalizers[:] = list(finalizers)
        if owner_references is not None:
            del metadata.owner_references[:]
            metadata.owner_references.extend(owner_references)
        return copy

    def _replaced(self, **contents: bytes) -> Object:
        message = pb.Object()
        message.CopyFrom(self.message)
        for field, data in contents.items():
            setattr(message, field, data)
        return Object(message, self.partition)

    def to_dict(self) -> dict[str, Any]:
        """The Kubernetes form, in fresh values that the caller may change. Empty parts are left out."""
        message = self.message
        manifest: dict[str, Any] = {
            "apiVersion": message.api_version,
            "kind": message.kind,
            "metadata": _metadata_to_dict(message.metadata),
        }
        if message.spec:
            manifest["spec"] = decode(message.spec)
        if message.rest:
            manifest.update(decode(message.rest))
        if message.status:
            manifest["status"] = decode(message.status)
        return manifest

    def __repr__(self) -> str:
        return f"<{self.kind} {self.key} at {self.partition or 'nowhere'}:{self.resource_version}>"


# ------------------------------------------------------------------------------------------------------------ time


# The first and the last second of RFC 3339's years, 0001 and 9999.
_TIME_MS_MIN = -62_135_596_800_000
_TIME_MS_MAX = 253_402_300_799_000


def format_time(milliseconds: int) -> str:
    """RFC 3339 in UTC; the fraction is left out where it is zero. What it has no year for is the nearest it can say."""
    milliseconds = min(max(milliseconds, _TIME_MS_MIN), _TIME_MS_MAX)
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds" if milliseconds % 1000 else "seconds").replace("+00:00", "Z")


def parse_time(text: str) -> int:
    """Milliseconds since 1970.

    Raises:
        ValueError: not RFC 3339.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return round(moment.timestamp() * 1000)


# ----------------------------------------------------------------------------------------------------- conversions


def _metadata_to_dict(metadata: pb.ObjectMeta) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for field, attribute in _METADATA_TEXT.items():
        if text := getattr(metadata, attribute):
            result[field] = text
    if metadata.resource_version:
        result["resourceVersion"] = str(metadata.resource_version)
    if metadata.generation:
        result["generation"] = metadata.generation
    if metadata.creation_ms:
        result["creationTimestamp"] = format_time(metadata.creation_ms)
    if metadata.deletion_ms:
        result["deletionTimestamp"] = format_time(metadata.deletion_ms)
        result["deletionGracePeriodSeconds"] = metadata.deletion_grace_seconds
    if metadata.labels:
        result["labels"] = dict(sorted(metadata.labels.items()))
    if metadata.annotations:
        result["annotations"] = dict(sorted(metadata.annotations.items()))
    if metadata.finalizers:
        result["finalizers"] = list(metadata.finalizers)
    if metadata.owner_references:
        result["ownerReferences"] = [
            {
                "apiVersion": owner.api_version,
                "kind": owner.kind,
                "name": owner.name,
                "uid": owner.uid,
                "controller": owner.controller,
                "blockOwnerDeletion": owner.block_owner_deletion,
            }
            for owner in metadata.owner_references
        ]
    if metadata.managed_fields:
        result["managedFields"] = [_managed_to_dict(entry) for entry in metadata.managed_fields]
    return result


def _managed_to_dict(entry: pb.ManagedFields) -> dict[str, Any]:
    result: dict[str, Any] = {
        "manager": entry.manager,
        "operation": entry.operation,
        "apiVersion": entry.api_version,
        "time": format_time(entry.time_ms),
        "fieldsType": "FieldsV1",
        "fieldsV1": json.loads(entry.fields_v1 or b"{}"),
    }
    if entry.subresource:
        result["subresource"] = entry.subresource
    return result


def _message_from_dict(manifest: Mapping[str, Any]) -> pb.Object:
    metadata = manifest.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        raise Invalid("metadata: must be a map", causes=[Cause("metadata", "must be a map")])
    reader = _MetadataReader(metadata)
    message = pb.Object(
        api_version=str(manifest.get("apiVersion") or ""),
        kind=str(manifest.get("kind") or ""),
        metadata=reader.message(),
    )
    reader.raise_if_broken(message.kind)
    if manifest.get("spec") is not None:
        message.spec = encode(manifest["spec"])
    if manifest.get("status") is not None:
        message.status = encode(manifest["status"])
    rest = {field: value for field, value in manifest.items() if field not in _TOP_LEVEL}
    if rest:
        message.rest = encode(rest)
    return message


class _MetadataReader:
    """Reads the metadata of a manifest and gathers every wrong type before it complains."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self._metadata = metadata
        self._causes: list[Cause] = []

    def message(self) -> pb.ObjectMeta:
        message = pb.ObjectMeta()
        for field, attribute in _METADATA_TEXT.items():
            setattr(message, attribute, self._text(field))
        message.resource_version = self._revision()
        message.generation = self._integer("generation")
        message.creation_ms = self._time("creationTimestamp")
        message.deletion_ms = self._time("deletionTimestamp")
        message.deletion_grace_seconds = self._integer("deletionGracePeriodSeconds")
        message.labels.update(self._texts("labels"))
        message.annotations.update(self._texts("annotations"))
        message.finalizers.extend(self._list("finalizers", str))
        for owner in self._list("ownerReferences", Mapping):
            message.owner_references.add(
                api_version=str(owner.get("apiVersion", "")),
                kind=str(owner.get("kind", "")),
                name=str(owner.get("name", "")),
                uid=str(owner.get("uid", "")),
                controller=bool(owner.get("controller", False)),
                block_owner_deletion=bool(owner.get("blockOwnerDeletion", False)),
            )
        for entry in self._list("managedFields", Mapping):
            message.managed_fields.add(
                manager=str(entry.get("manager", "")),
                operation=str(entry.get("operation", "")),
                api_version=str(entry.get("apiVersion", "")),
                time_ms=self._time_of(entry.get("time"), "managedFields.time"),
                fields_v1=_fields_v1(entry.get("fieldsV1")),
                subresource=str(entry.get("subresource", "")),
            )
        return message

    def raise_if_broken(self, kind: str) -> None:
        if self._causes:
            name = self._metadata.get("name", "")
            causes = "; ".join(map(repr, self._causes))
            raise Invalid(f"{kind} {name!r} is invalid: {causes}", causes=self._causes)

    def _broken(self, field: str, message: str) -> None:
        self._causes.append(Cause(f"metadata.{field}", message))

    def _text(self, field: str) -> str:
        value = self._metadata.get(field)
        if value is None or isinstance(value, str):
            return value or ""
        self._broken(field, f"must be a string, not {value!r}")
        return ""

    def _integer(self, field: str) -> int:
        value = self._metadata.get(field)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value or 0
        self._broken(field, f"must be a whole number, not {value!r}")
        return 0

    def _revision(self) -> int:
        value = self._metadata.get("resourceVersion")
        if value in (None, ""):
            return 0
        if isinstance(value, str) and value.isdecimal():
            return int(value)
        self._broken("resourceVersion", f"must be a decimal number in a string, not {value!r}")
        return 0

    def _time(self, field: str) -> int:
        return self._time_of(self._metadata.get(field), field)

    def _time_of(self, value: Any, field: str) -> int:
        if value is None:
            return 0
        try:
            return parse_time(value.isoformat() if isinstance(value, datetime) else str(value))
        except ValueError:
            self._broken(field, f"must be a time like 2026-11-23T08:00:00Z, not {value!r}")
            return 0

    def _texts(self, field: str) -> dict[str, str]:
        value = self._metadata.get(field)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self._broken(field, "must be a map of strings")
            return {}
        for name, text in value.items():
            if not isinstance(name, str) or not isinstance(text, str):
                self._broken(f"{field}[{name}]", f"must be a string, not {text!r}; quote it")
        return {name: text for name, text in value.items() if isinstance(name, str) and isinstance(text, str)}

    def _list(self, field: str, of: type) -> list[Any]:
        value = self._metadata.get(field)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, of) for item in value):
            self._broken(field, f"must be a list of {'maps' if of is Mapping else 'strings'}")
            return []
        return value


def _fields_v1(value: Any) -> bytes:
    """As the server writes them, so that what was read comes back byte for byte."""
    if not value:
        return b""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False, default=repr).encode()


def require_kind(message: pb.Object, kind: str, api_version: str) -> None:
    """Check that an object is of the kind its request names.

    Raises:
        BadRequest: it is not.
    """
    if message.kind != kind or message.api_version != api_version:
        raise BadRequest(
            f"the object is a {message.api_version}/{message.kind}, the request is for {api_version}/{kind}"
        )
