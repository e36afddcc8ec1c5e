"""Pods, and the pod templates of workloads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...proto import ursa_pb2 as pb
from ...proto.devices import DEVICES_ANNOTATION
from ...proto.kinds import Kind
from ...proto.objects import decode_shared, encode
from ...proto.quantities import parse_quantity
from .contents import decoded
from .gpu_requests import asks_for_gpus, check_gpu_request
from .priorities import NEVER, PREEMPT, PriorityClasses
from .scheduling_gates import gates_of, status_of_new, without_condition
from .strategy import Strategy
from .twins import Twins
from .validation import (
    Causes,
    check_count,
    check_labels,
    check_quantities,
    is_label,
    mapping,
    sequence,
)

DEFAULT_SCHEDULER = "default-scheduler"
DEFAULT_GRACE_SECONDS = 30
RESTART_POLICIES = ("Always", "OnFailure", "Never")
PROTOCOLS = ("TCP", "UDP", "SCTP")
PORT_MAX = 65_535
FINISHED_PHASES = ("Succeeded", "Failed")
# What an update of a pod may change; the rest of its spec is fixed.
MUTABLE_FIELDS = ("activeDeadlineSeconds", "tolerations", "schedulingGates")

_RESOLVED = ("priorityClassName", "priority", "preemptionPolicy")

_DEVICES_FIELD = f"metadata.annotations[{DEVICES_ANNOTATION}]"


class PodStrategy(Strategy):
    """A pod is bound by a Bind only, and deleted gracefully once it is bound."""

    graceful = True

    def __init__(self, kind: Kind, classes: PriorityClasses | None = None) -> None:
        super().__init__(kind)
        self.twins = Twins()
        self._classes = classes

    def classes_changed(self) -> None:
        """What was worked out for one new pod no longer holds for others like it."""
        if self.twins is not None:
            self.twins.clear()

    def prepare_create(self, message: pb.Object) -> None:
        if self._classes is None:
            return
        wrong = Causes()
        spec = decoded(message.spec, "spec", wrong)
        if wrong.found:
            return  # That is told when it is checked.
        resolved = self._classes.resolve(spec)
        if resolved is not None:
            message.spec = encode(resolved)

    def default_spec(self, spec: dict[str, Any]) -> None:
        default_pod_spec(spec)

    def check_spec(self, spec: Any, causes: Causes) -> None:
        check_pod_spec(spec, "spec", causes)

    def check_create(self, message: pb.Object, causes: Causes) -> None:
        spec = decode_shared(message.spec)
        for field in ("nodeName", "resourcePartition"):
            if spec.get(field):
                causes.add(f"spec.{field}", "is set by a binding; select a node with nodeSelector instead")
        check_no_devices(message, causes)

    def check_update(self, new: pb.Object, old: pb.Object, causes: Causes) -> None:
        _keep_priority(new, old)
        _keep_devices(new, old, causes)
        _check_fewer_gates(new, old, causes)
        if _fixed_part(new.spec) != _fixed_part(old.spec):
            fields = ", ".join(("the images of containers", *MUTABLE_FIELDS))
            causes.add("spec", f"of a pod is fixed but for {fields}; delete it and create another")

    def initial_status(self, message: pb.Object) -> bytes:
        return status_of_new(message.spec)

    def deletion_grace_seconds(self, message: pb.Object, asked: int | None) -> int:
        spec = decode_shared(message.spec)
        if not spec.get("nodeName") or decode_shared(message.status).get("phase") in FINISHED_PHASES:
            return 0
        if asked is not None:
            return asked
        grace = spec.get("terminationGracePeriodSeconds")
        return int(DEFAULT_GRACE_SECONDS if grace is None else grace)


def _keep_priority(new: pb.Object, old: pb.Object) -> None:
    """A manifest that leaves out what admission has filled in means what is there."""
    after, before = decode_shared(new.spec), decode_shared(old.spec)
    kept = {name: before[name] for name in _RESOLVED if name in before and after.get(name) is None}
    if kept:
        new.spec = encode({**after, **kept})


def check_no_devices(message: pb.Object, causes: Causes) -> None:
    if DEVICES_ANNOTATION in message.metadata.annotations:
        causes.add(_DEVICES_FIELD, "is set by a binding; leave it out")


def _keep_devices(new: pb.Object, old: pb.Object, causes: Causes) -> None:
    """The ledger relies on them, where it has to be filled anew from what pods say."""
    before = old.metadata.annotations.get(DEVICES_ANNOTATION)
    after = new.metadata.annotations.get(DEVICES_ANNOTATION)
    if after is None and before is not None:
        new.metadata.annotations[DEVICES_ANNOTATION] = before
    elif after != before:
        causes.add(_DEVICES_FIELD, "is set by a binding, and never changes")


def _check_fewer_gates(new: pb.Object, old: pb.Object, causes: Causes) -> None:
    before, after = gates_of(decode_shared(old.spec)), gates_of(decode_shared(new.spec))
    for name in after:
        if name not in before:
            causes.add("spec.schedulingGates", f"may only lose gates once the pod is there; {name!r} is new")
    if before and not after:
        new.status = without_condition(new.status)


def _fixed_part(data: bytes) -> dict[str, Any]:
    spec = {field: value for field, value in decode_shared(data).items() if field not in MUTABLE_FIELDS}
    spec["containers"] = [
        {field: value for field, value in container.items() if field != "image"} for container in spec["containers"]
    ]
    return spec


def default_pod_spec(spec: dict[str, Any]) -> None:
    for field in ("nodeName", "resourcePartition"):
        if not spec.get(field):
            spec.pop(field, None)
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("schedulerName", DEFAULT_SCHEDULER)
    spec.setdefault("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS)
    for container in (*spec["containers"], *(spec.get("initContainers") or ())):
        resources = container.get("resources") or {}
        limits = resources.get("limits") or {}
        if limits:
            container["resources"] = {**resources, "requests": {**limits, **(resources.get("requests") or {})}}


def check_pod_spec(spec: Any, field: str, causes: Causes) -> None:
    known = len(causes.found)
    containers = sequence(spec.get("containers"), f"{field}.containers", causes)
    if not containers:
        causes.require(f"{field}.containers")
    names: dict[str, None] = {}
    for group in ("containers", "initContainers"):
        for number, container in enumerate(sequence(spec.get(group), f"{field}.{group}", causes)):
            _check_container(container, f"{field}.{group}[{number}]", names, causes)
    check_labels(mapping(spec.get("nodeSelector"), f"{field}.nodeSelector", causes), f"{field}.nodeSelector", causes)
    for number, toleration in enumerate(sequence(spec.get("tolerations"), f"{field}.tolerations", causes)):
        _check_toleration(toleration, f"{field}.tolerations[{number}]", causes)
    check_quantities(spec.get("overhead"), f"{field}.overhead", causes)
    check_count(spec.get("terminationGracePeriodSeconds"), f"{field}.terminationGracePeriodSeconds", causes)
    deadline = spec.get("activeDeadlineSeconds")
    check_count(deadline, f"{field}.activeDeadlineSeconds", causes)
    if deadline == 0:
        causes.add(f"{field}.activeDeadlineSeconds", "must be at least 1")
    _check_volumes(spec, field, causes)
    priority = spec.get("priority")
    if priority is not None and (not isinstance(priority, int) or isinstance(priority, bool)):
        causes.add(f"{field}.priority", f"must be a whole number, not {priority!r}")
    if not isinstance(spec.get("priorityClassName"), str | None):
        causes.add(f"{field}.priorityClassName", "must be a string")
    if spec.get("preemptionPolicy") not in (None, "", PREEMPT, NEVER):
        causes.add(f"{field}.preemptionPolicy", f"must be {PREEMPT} or {NEVER}, not {spec['preemptionPolicy']!r}")
    _check_gates(spec, field, causes)
    if spec.get("restartPolicy") not in (None, *RESTART_POLICIES):
        causes.add(f"{field}.restartPolicy", f"must be one of {', '.join(RESTART_POLICIES)}")
    if len(causes.found) == known and asks_for_gpus(spec):
        check_gpu_request(spec, field, causes)


def _check_container(container: Any, field: str, names: dict[str, None], causes: Causes) -> None:
    container = mapping(container, field, causes)
    name = container.get("name")
    if not name:
        causes.require(f"{field}.name")
    elif not isinstance(name, str) or not is_label(name):
        causes.add(f"{field}.name", f"{name!r} is no DNS label")
    elif name in names:
        causes.add(f"{field}.name", f"{name!r} is the name of another container of this pod")
    else:
        names[name] = None
    if not isinstance(container.get("image"), str | None):
        causes.add(f"{field}.image", "must be a string")
    _check_ports(container, field, causes)
    _check_environment(container, field, causes)
    resources = mapping(container.get("resources"), f"{field}.resources", causes)
    known = len(causes.found)
    check_quantities(resources.get("requests"), f"{field}.resources.requests", causes)
    check_quantities(resources.get("limits"), f"{field}.resources.limits", causes)
    if len(causes.found) == known:
        _check_limits(resources, field, causes)


def _check_ports(container: Mapping[str, Any], field: str, causes: Causes) -> None:
    names: dict[str, None] = {}
    for number, entry in enumerate(sequence(container.get("ports"), f"{field}.ports", causes)):
        place = f"{field}.ports[{number}]"
        port = mapping(entry, place, causes)
        for part, needed in (("containerPort", True), ("hostPort", False)):
            value = port.get(part)
            if value is None and not needed:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= PORT_MAX:
                causes.add(f"{place}.{part}", f"must be a port, 1 to {PORT_MAX}, not {value!r}")
        if port.get("protocol") not in (None, *PROTOCOLS):
            causes.add(f"{place}.protocol", f"must be {', '.join(PROTOCOLS)}, not {port['protocol']!r}")
        name = port.get("name")
        if isinstance(name, str) and name in names:
            causes.add(f"{place}.name", f"{name!r} is the name of another port of this container")
        elif isinstance(name, str):
            names[name] = None


def _check_environment(container: Mapping[str, Any], field: str, causes: Causes) -> None:
    for number, entry in enumerate(sequence(container.get("env"), f"{field}.env", causes)):
        place = f"{field}.env[{number}]"
        variable = mapping(entry, place, causes)
        name = variable.get("name")
        if not name:
            causes.require(f"{place}.name")
        elif not isinstance(name, str) or "=" in name or not name.isprintable():
            causes.add(f"{place}.name", f"{name!r} is no name of a variable")
        if not isinstance(variable.get("value"), str | None):
            causes.add(f"{place}.value", f"must be a string, not {variable['value']!r}; quote it")
        elif variable.get("value") and variable.get("valueFrom"):
            causes.add(f"{place}.valueFrom", "must not be set beside a value")


def _check_volumes(spec: Mapping[str, Any], field: str, causes: Causes) -> None:
    """Volumes have names of their own, and what is mounted is there."""
    names: dict[str, None] = {}
    for number, entry in enumerate(sequence(spec.get("volumes"), f"{field}.volumes", causes)):
        place = f"{field}.volumes[{number}].name"
        name = mapping(entry, f"{field}.volumes[{number}]", causes).get("name")
        if not name:
            causes.require(place)
        elif not isinstance(name, str) or not is_label(name):
            causes.add(place, f"{name!r} is no DNS label")
        elif name in names:
            causes.add(place, f"{name!r} is the name of another volume of this pod")
        else:
            names[name] = None
        _check_claim(entry, f"{field}.volumes[{number}]", causes)
    known = list(names)
    for group in ("containers", "initContainers"):
        for number, container in enumerate(sequence(spec.get(group), f"{field}.{group}", Causes())):
            place = f"{field}.{group}[{number}].volumeMounts"
            mounts = container.get("volumeMounts") if isinstance(container, Mapping) else None
            for count, entry in enumerate(sequence(mounts, place, causes)):
                mount = mapping(entry, f"{place}[{count}]", causes)
                if mount.get("name") not in known:
                    causes.add(f"{place}[{count}].name", f"there is no volume {mount.get('name')!r}")
                if not mount.get("mountPath"):
                    causes.require(f"{place}[{count}].mountPath")


def _check_claim(volume: Any, field: str, causes: Causes) -> None:
    if not isinstance(volume, Mapping):
        return
    if volume.get("persistentVolumeClaim") is not None:
        name = mapping(volume["persistentVolumeClaim"], f"{field}.persistentVolumeClaim", causes).get("claimName")
        if not isinstance(name, str) or not name:
            causes.require(f"{field}.persistentVolumeClaim.claimName")
    if volume.get("ephemeral") is not None:
        causes.forbid(f"{field}.ephemeral", "is not served: create a PersistentVolumeClaim and name it")


def _check_gates(spec: Mapping[str, Any], field: str, causes: Causes) -> None:
    names: dict[str, None] = {}
    for number, entry in enumerate(sequence(spec.get("schedulingGates"), f"{field}.schedulingGates", causes)):
        place = f"{field}.schedulingGates[{number}].name"
        name = mapping(entry, f"{field}.schedulingGates[{number}]", causes).get("name")
        if not isinstance(name, str) or not name:
            causes.add(place, f"must be a name, not {name!r}")
        elif name in names:
            causes.add(place, f"{name!r} is there twice")
        else:
            names[name] = None


def _check_limits(resources: Mapping[str, Any], field: str, causes: Causes) -> None:
    limits = resources.get("limits") or {}
    for name, request in (resources.get("requests") or {}).items():
        if name in limits and parse_quantity(request) > parse_quantity(limits[name]):
            causes.add(f"{field}.resources.requests[{name}]", f"{request} is above the limit of {limits[name]}")


def _check_toleration(toleration: Any, field: str, causes: Causes) -> None:
    toleration = mapping(toleration, field, causes)
    if toleration.get("operator") not in (None, "", "Exists", "Equal"):
        causes.add(f"{field}.operator", f"must be Exists or Equal, not {toleration['operator']!r}")
    if toleration.get("effect") not in (None, "", "NoSchedule", "PreferNoSchedule", "NoExecute"):
        causes.add(
            f"{field}.effect", f"must be NoSchedule, PreferNoSchedule or NoExecute, not {toleration['effect']!r}"
        )
    if not toleration.get("key") and toleration.get("operator") != "Exists":
        causes.add(f"{field}.operator", "must be Exists where the key is empty")
