"""Kinds with few rules of their own."""

from __future__ import annotations

import base64
import re
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.devices import device_request, held_devices
from ...proto.objects import decode, decode_shared, encode
from ...proto.quantities import GPU_MILLI
from .strategy import Strategy
from .validation import Causes, check_quantities, mapping, sequence

NAMESPACE_FINALIZER = "kubernetes"
TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

# A key of a ConfigMap or a Secret may become the name of a file.
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_ACTIVE = encode({"phase": "Active"})


class NamespaceStrategy(Strategy):
    """Stays until its contents are gone: the namespace controller removes the finalizer then."""

    def prepare_create(self, message: pb.Object) -> None:
        if NAMESPACE_FINALIZER not in message.metadata.finalizers:
            message.metadata.finalizers.append(NAMESPACE_FINALIZER)

    def initial_status(self, message: pb.Object) -> bytes:
        return _ACTIVE


class NodeStrategy(Strategy):
    """A kubelet registers its node with its status."""

    def initial_status(self, message: pb.Object) -> bytes:
        return message.status

    def check_spec(self, spec: Any, causes: Causes) -> None:
        for number, taint in enumerate(sequence(spec.get("taints"), "spec.taints", causes)):
            field = f"spec.taints[{number}]"
            parts = mapping(taint, field, causes)
            if not parts.get("key"):
                causes.require(f"{field}.key")
            if parts.get("effect") not in TAINT_EFFECTS:
                causes.add(f"{field}.effect", f"must be one of {', '.join(TAINT_EFFECTS)}")

    def check_object(self, message: pb.Object, causes: Causes) -> None:
        status = mapping(decode_shared(message.status), "status", causes)
        check_quantities(status.get("capacity"), "status.capacity", causes)
        check_quantities(status.get("allocatable"), "status.allocatable", causes)


class ConfigMapStrategy(Strategy):
    def check_object(self, message: pb.Object, causes: Causes) -> None:
        rest = decode_shared(message.rest)
        for field in ("data", "binaryData"):
            for key, value in mapping(rest.get(field), field, causes).items():
                _check_data_key(key, field, causes)
                if not isinstance(value, str):
                    causes.add(f"{field}[{key}]", f"must be a string, not {value!r}; quote it")
        for key in mapping(rest.get("binaryData"), "binaryData", Causes()):
            if key in mapping(rest.get("data"), "data", Causes()):
                causes.add(f"binaryData[{key}]", "is a key of data, too")

    def check_update(self, new: pb.Object, old: pb.Object, causes: Causes) -> None:
        if decode_shared(old.rest).get("immutable") and new.rest != old.rest:
            causes.add("data", "is immutable; delete the object and create another")


class SecretStrategy(ConfigMapStrategy):
    """`stringData` is turned into `data` when it is written."""

    def check_object(self, message: pb.Object, causes: Causes) -> None:
        rest = decode(message.rest)
        texts = mapping(rest.pop("stringData", None), "stringData", causes)
        data = dict(mapping(rest.get("data"), "data", causes))
        for key, text in texts.items():
            if not isinstance(text, str):
                causes.add(f"stringData[{key}]", f"must be a string, not {text!r}; quote it")
            else:
                data[key] = base64.b64encode(text.encode()).decode()
        for key, value in data.items():
            _check_data_key(key, "data", causes)
            if not _is_base64(value):
                causes.add(f"data[{key}]", "must be base64; write plain text under stringData")
        if data:
            rest["data"] = data
        rest.setdefault("type", "Opaque")
        message.rest = encode(rest)

    def check_update(self, new: pb.Object, old: pb.Object, causes: Causes) -> None:
        super().check_update(new, old, causes)
        if decode_shared(new.rest).get("type") != decode_shared(old.rest).get("type"):
            causes.add("type", "is immutable; delete the secret and create another")


class EventStrategy(Strategy):
    default_propagation = ""

    def check_object(self, message: pb.Object, causes: Causes) -> None:
        involved = mapping(decode_shared(message.rest).get("involvedObject"), "involvedObject", causes)
        if not involved.get("kind"):
            causes.require("involvedObject.kind")


class PlacementStrategy(Strategy):
    """A claim on a node. The ledger decides whether there is room."""

    def check_spec(self, spec: Any, causes: Causes) -> None:
        for field in ("node", "nodeUID", "tenantPartition"):
            if not isinstance(spec.get(field), str) or not spec[field]:
                causes.require(f"spec.{field}")
        pod = mapping(spec.get("pod"), "spec.pod", causes)
        for field in ("tenant", "namespace", "name", "uid"):
            if not isinstance(pod.get(field), str) or not pod[field]:
                causes.require(f"spec.pod.{field}")
        for name, units in mapping(spec.get("requests"), "spec.requests", causes).items():
            if not isinstance(units, int) or isinstance(units, bool) or units < 0:
                causes.add(f"spec.requests[{name}]", f"must be a whole number of units, not negative, not {units!r}")
        for number, port in enumerate(sequence(spec.get("hostPorts"), "spec.hostPorts", causes)):
            _check_host_port(port, f"spec.hostPorts[{number}]", causes)
        if isinstance(spec.get("requests"), dict):
            _check_devices(spec, causes)
        if not isinstance(spec.get("history", ""), str):
            causes.add("spec.history", f"must be an incarnation, not {spec['history']!r}")
        if not isinstance(spec.get("bound", False), bool):
            causes.add("spec.bound", f"must be true or false, not {spec['bound']!r}")

    def check_object(self, message: pb.Object, causes: Causes) -> None:
        pod = decode_shared(message.spec).get("pod") if message.spec else None
        if isinstance(pod, dict) and pod.get("uid") != message.metadata.name:
            causes.add("metadata.name", "must be the uid of the pod")

    def check_update(self, new: pb.Object, old: pb.Object, causes: Causes) -> None:
        """Only whose word counts may change: the pod's tenant may move."""
        before, after = decode_shared(old.spec), decode_shared(new.spec)
        if {**after, "tenantPartition": ""} != {**before, "tenantPartition": ""}:
            causes.add("spec", "of a placement is fixed but for tenantPartition; delete it and create another")


def _check_host_port(entry: Any, field: str, causes: Causes) -> None:
    port = mapping(entry, field, causes)
    number = port.get("port")
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= 65_535:
        causes.add(f"{field}.port", f"must be from 1 to 65535, not {number!r}")
    for name in ("protocol", "address"):
        if not isinstance(port.get(name), str) or not port[name]:
            causes.require(f"{field}.{name}")


def _check_devices(spec: Any, causes: Causes) -> None:
    wanted = spec["requests"].get(GPU_MILLI, 0)
    if not isinstance(wanted, int):
        return
    try:
        device_request(spec["requests"])
        devices = held_devices(spec)
    except ValueError as error:
        causes.add("spec.devices", str(error))
        return
    # Who makes a lost one again does not know them.
    if wanted > 0 and devices is None and spec.get("bound") is not True:
        causes.require("spec.devices")


def _check_data_key(key: Any, field: str, causes: Causes) -> None:
    if not isinstance(key, str) or not _DATA_KEY.fullmatch(key) or key in (".", ".."):
        causes.add(f"{field}[{key}]", "is no key: letters, digits, '-', '_' and '.', at most 253")


def _is_base64(value: Any) -> bool:
    try:
        base64.b64decode(value, validate=True)
    except (ValueError, TypeError):
        return False
    return True
