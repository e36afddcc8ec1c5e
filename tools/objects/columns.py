"""The columns of `ursa get`, kind by kind, after kubectl's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ...proto.custom_kinds import is_established
from ...proto.kinds import Kind, PrinterColumn
from ...proto.objects import Object, parse_time
from ...proto.volumes import DEFAULT_CLASS
from .endpoints import endpoints_of, service_ports, service_selector, slice_endpoints, slice_ports
from .json_paths import values_at


class Column(NamedTuple):
    """`wide`: only with -o wide."""

    title: str
    value: Callable[[Object, int], str]
    wide: bool = False


def age(then_ms: int, now_ms: int) -> str:
    """A duration as kubectl writes it: `12s`, `3m20s`, `5h`, `12d`."""
    seconds = max(0, now_ms - then_ms) // 1000
    if seconds < 120:
        return f"{seconds}s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 10:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    return f"{hours}h" if hours < 48 else f"{hours // 24}d"


def _field(*path: str, default: str = "<none>") -> Callable[[Object, int], str]:
    part, *rest = path

    def read(obj: Object, _now_ms: int) -> str:
        value: Any = getattr(obj, part)
        for step in rest:
            value = value.get(step) if isinstance(value, dict) else None
        return default if value in (None, "") else str(value)

    return read


_SHORT_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _access_modes(part: str) -> Callable[[Object, int], str]:
    def read(obj: Object, _now_ms: int) -> str:
        modes = getattr(obj, part).get("accessModes") or ()
        return ",".join(_SHORT_MODES.get(mode, str(mode)) for mode in modes)

    return read


def _volume_status(obj: Object, _now_ms: int) -> str:
    return "Terminating" if obj.deletion_ms else str(obj.status.get("phase") or "Pending")


def _claim_of_volume(obj: Object, _now_ms: int) -> str:
    claim = obj.spec.get("claimRef") or {}
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


def _storage_class_name(obj: Object, _now_ms: int) -> str:
    return f"{obj.name} (default)" if obj.annotations.get(DEFAULT_CLASS) == "true" else obj.name


def pod_status(obj: Object, _now_ms: int = 0) -> str:
    if obj.deletion_ms:
        return "Terminating"
    for condition in obj.status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            return "SchedulingGated"
    return str(obj.status.get("reason") or obj.status.get("phase") or "Unknown")


def _pod_ready(obj: Object, _now_ms: int) -> str:
    statuses = obj.status.get("containerStatuses") or ()
    return f"{sum(bool(s.get('ready')) for s in statuses)}/{len(obj.spec.get('containers') or ())}"


def _restarts(obj: Object, _now_ms: int) -> str:
    return str(sum(int(s.get("restartCount") or 0) for s in obj.status.get("containerStatuses") or ()))


def node_status(obj: Object, _now_ms: int = 0) -> str:
    conditions = {c.get("type"): c.get("status") for c in obj.status.get("conditions") or ()}
    words = ["Ready" if conditions.get("Ready") == "True" else "NotReady"]
    if obj.spec.get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _roles(obj: Object, _now_ms: int) -> str:
    prefix = "node-role.kubernetes.io/"
    return ",".join(sorted(key.removeprefix(prefix) for key in obj.labels if key.startswith(prefix))) or "<none>"


def _deployment_ready(obj: Object, _now_ms: int) -> str:
    return f"{obj.status.get('readyReplicas', 0)}/{obj.spec.get('replicas', 0)}"


def _node_selector(obj: Object, _now_ms: int) -> str:
    spec = (obj.spec.get("template") or {}).get("spec") or {}
    return ",".join(f"{key}={value}" for key, value in sorted((spec.get("nodeSelector") or {}).items())) or "<none>"


def _controller(obj: Object, _now_ms: int) -> str:
    owner = obj.controller
    return f"{owner.kind.lower()}/{owner.name}" if owner is not None else "<none>"


def _job_status(obj: Object, _now_ms: int) -> str:
    if obj.deletion_ms:
        return "Terminating"
    true = [c.get("type") for c in obj.status.get("conditions") or () if c.get("status") == "True"]
    return next((str(kind) for kind in ("Complete", "Failed", "Suspended", *true) if kind in true), "Running")


def _job_completions(obj: Object, _now_ms: int) -> str:
    succeeded, completions = obj.status.get("succeeded", 0), obj.spec.get("completions")
    if completions is not None:
        return f"{succeeded}/{completions}"
    parallelism = obj.spec.get("parallelism", 1)
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _job_duration(obj: Object, now_ms: int) -> str:
    start_ms, end_ms = _time(obj.status.get("startTime")), _time(obj.status.get("completionTime"))
    return age(start_ms, end_ms or now_ms) if start_ms else ""


def _last_schedule(obj: Object, now_ms: int) -> str:
    last_ms = _time(obj.status.get("lastScheduleTime"))
    return age(last_ms, now_ms) if last_ms else "<none>"


def _time(stamp: Any) -> int:
    try:
        return parse_time(stamp) if stamp else 0
    except ValueError:
        return 0


def _data_count(obj: Object, _now_ms: int) -> str:
    return str(len(obj.rest.get("data") or ()) + len(obj.rest.get("binaryData") or ()))


def _event_object(obj: Object, _now_ms: int) -> str:
    involved = obj.rest.get("involvedObject") or {}
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _last_seen(obj: Object, now_ms: int) -> str:
    stamp = obj.rest.get("lastTimestamp")
    try:
        return age(parse_time(stamp) if stamp else obj.creation_ms, now_ms)
    except ValueError:
        return "<unknown>"


def _placed_pod(obj: Object, _now_ms: int) -> str:
    pod = obj.spec.get("pod") or {}
    return "/".join(str(pod.get(part, "")) for part in ("tenant", "namespace", "name"))


def _capacity(resource: str) -> Callable[[Object, int], str]:
    return lambda obj, _: str((obj.status.get("allocatable") or {}).get(resource, "<none>"))


def _established(obj: Object, _now_ms: int) -> str:
    return "True" if is_established(obj.message) else "False"


AGE = Column("AGE", lambda obj, now_ms: age(obj.creation_ms, now_ms))
PARTITION = Column("PARTITION", lambda obj, _: obj.partition)
TENANT = Column("TENANT", lambda obj, _: obj.tenant)
NAMESPACE = Column("NAMESPACE", lambda obj, _: obj.namespace)
NAME = Column("NAME", lambda obj, _: obj.name)

_COLUMNS: dict[str, Sequence[Column]] = {
    "Pod": (
        NAME,
        Column("READY", _pod_ready),
        Column("STATUS", pod_status),
        Column("RESTARTS", _restarts),
        AGE,
        Column("IP", _field("status", "podIP"), wide=True),
        Column("NODE", _field("spec", "nodeName"), wide=True),
        Column("NODE-PARTITION", _field("spec", "resourcePartition"), wide=True),
    ),
    "Node": (
        NAME,
        Column("STATUS", node_status),
        Column("ROLES", _roles),
        AGE,
        Column("VERSION", _field("status", "nodeInfo", "kubeletVersion")),
        PARTITION,
        Column("CPU", _capacity("cpu"), wide=True),
        Column("MEMORY", _capacity("memory"), wide=True),
        Column("PODS", _capacity("pods"), wide=True),
    ),
    "ReplicaSet": (
        NAME,
        Column("DESIRED", _field("spec", "replicas", default="0")),
        Column("CURRENT", _field("status", "replicas", default="0")),
        Column("READY", _field("status", "readyReplicas", default="0")),
        AGE,
    ),
    "Deployment": (
        NAME,
        Column("READY", _deployment_ready),
        Column("UP-TO-DATE", _field("status", "updatedReplicas", default="0")),
        Column("AVAILABLE", _field("status", "availableReplicas", default="0")),
        AGE,
    ),
    "StatefulSet": (
        NAME,
        Column("READY", _deployment_ready),
        AGE,
    ),
    "DaemonSet": (
        NAME,
        Column("DESIRED", _field("status", "desiredNumberScheduled", default="0")),
        Column("CURRENT", _field("status", "currentNumberScheduled", default="0")),
        Column("READY", _field("status", "numberReady", default="0")),
        Column("UP-TO-DATE", _field("status", "updatedNumberScheduled", default="0")),
        Column("AVAILABLE", _field("status", "numberAvailable", default="0")),
        Column("NODE SELECTOR", _node_selector),
        AGE,
        PARTITION,
    ),
    "ControllerRevision": (
        NAME,
        Column("CONTROLLER", _controller),
        Column("REVISION", _field("rest", "revision", default="0")),
        AGE,
    ),
    "Job": (
        NAME,
        Column("STATUS", _job_status),
        Column("COMPLETIONS", _job_completions),
        Column("DURATION", _job_duration),
        AGE,
    ),
    "CronJob": (
        NAME,
        Column("SCHEDULE", _field("spec", "schedule")),
        Column("TIMEZONE", _field("spec", "timeZone")),
        Column("SUSPEND", _field("spec", "suspend", default="False")),
        Column("ACTIVE", lambda obj, _: str(len(obj.status.get("active") or ()))),
        Column("LAST SCHEDULE", _last_schedule),
        AGE,
    ),
    "PodDisruptionBudget": (
        NAME,
        Column("MIN AVAILABLE", _field("spec", "minAvailable", default="N/A")),
        Column("MAX UNAVAILABLE", _field("spec", "maxUnavailable", default="N/A")),
        Column("ALLOWED DISRUPTIONS", _field("status", "disruptionsAllowed", default="0")),
        AGE,
    ),
    "PriorityClass": (
        NAME,
        Column("VALUE", _field("rest", "value")),
        Column("GLOBAL-DEFAULT", _field("rest", "globalDefault", default="false")),
        Column("PREEMPTIONPOLICY", _field("rest", "preemptionPolicy", default="PreemptLowerPriority")),
        AGE,
    ),
    "StorageClass": (
        Column("NAME", _storage_class_name),
        Column("PROVISIONER", _field("rest", "provisioner")),
        Column("RECLAIMPOLICY", _field("rest", "reclaimPolicy", default="Delete")),
        Column("VOLUMEBINDINGMODE", _field("rest", "volumeBindingMode", default="Immediate")),
        AGE,
    ),
    "PersistentVolume": (
        NAME,
        Column("CAPACITY", _field("spec", "capacity", "storage")),
        Column("ACCESS MODES", _access_modes("spec")),
        Column("RECLAIM POLICY", _field("spec", "persistentVolumeReclaimPolicy")),
        Column("STATUS", _volume_status),
        Column("CLAIM", _claim_of_volume),
        Column("STORAGECLASS", _field("spec", "storageClassName", default="")),
        Column("REASON", _field("status", "reason", default="")),
        AGE,
    ),
    "PersistentVolumeClaim": (
        NAME,
        Column("STATUS", _volume_status),
        Column("VOLUME", _field("spec", "volumeName", default="")),
        Column("CAPACITY", _field("status", "capacity", "storage", default="")),
        Column("ACCESS MODES", _access_modes("status")),
        Column("STORAGECLASS", _field("spec", "storageClassName", default="")),
        AGE,
    ),
    "Service": (
        NAME,
        Column("TYPE", _field("spec", "type")),
        Column("CLUSTER-IP", _field("spec", "clusterIP")),
        Column("EXTERNAL-NAME", _field("spec", "externalName")),
        Column("PORT(S)", service_ports),
        AGE,
        Column("SELECTOR", service_selector, wide=True),
    ),
    "Endpoints": (NAME, Column("ENDPOINTS", endpoints_of), AGE),
    "EndpointSlice": (
        NAME,
        Column("ADDRESSTYPE", _field("rest", "addressType")),
        Column("PORTS", slice_ports),
        Column("ENDPOINTS", slice_endpoints),
        AGE,
    ),
    "Namespace": (NAME, Column("STATUS", _field("status", "phase", default="Unknown")), AGE),
    "Tenant": (NAME, Column("STATUS", _field("status", "phase", default="Unknown")), PARTITION, AGE),
    "ConfigMap": (NAME, Column("DATA", _data_count), AGE),
    "Secret": (NAME, Column("TYPE", _field("rest", "type")), Column("DATA", _data_count), AGE),
    "Event": (
        Column("LAST SEEN", _last_seen),
        Column("TYPE", _field("rest", "type")),
        Column("REASON", _field("rest", "reason")),
        Column("OBJECT", _event_object),
        Column("MESSAGE", _field("rest", "message", default="")),
        Column("COUNT", _field("rest", "count", default="1"), wide=True),
    ),
    "Lease": (NAME, Column("HOLDER", _field("spec", "holderIdentity")), AGE),
    "Placement": (
        NAME,
        Column("NODE", _field("spec", "node")),
        Column("TENANT-PARTITION", _field("spec", "tenantPartition")),
        Column("POD", _placed_pod),
        PARTITION,
        AGE,
    ),
    "TenantPartition": (NAME, Column("ADDRESS", _field("spec", "address")), AGE),
    "ResourcePartition": (NAME, Column("ADDRESS", _field("spec", "address")), AGE),
    "CustomResourceDefinition": (
        NAME,
        Column("KIND", _field("spec", "names", "kind")),
        Column("SCOPE", _field("spec", "scope")),
        Column("ESTABLISHED", _established),
        AGE,
    ),
}


def _custom(column: PrinterColumn) -> Column:
    def read(obj: Object, now_ms: int) -> str:
        part = column.path.strip("{}").lstrip(".").partition(".")[0].partition("[")[0]
        document = {part: getattr(obj, part)} if part in ("spec", "status") else obj.to_dict()
        found = [value for value in values_at(document, column.path) if value not in (None, "")]
        if not found:
            return "<none>" if column.type != "date" else "<unknown>"
        if column.type == "date":
            try:
                return age(parse_time(str(found[0])), now_ms)
            except ValueError:
                return "<invalid>"
        return ",".join(str(value).lower() if isinstance(value, bool) else str(value) for value in found)

    return Column(column.name.upper(), read, column.wide)


def columns_of_kind(kind: Kind, *, wide: bool = False, scoped: Sequence[Column] = ()) -> list[Column]:
    """Those of a custom kind are what its definition says; without any, name and age."""
    if kind.custom is None or not kind.custom.columns:
        return columns_of(kind.kind if kind.custom is None else "", wide=wide, scoped=scoped)
    own = [NAME, *(each for each in map(_custom, kind.custom.columns) if wide or not each.wide)]
    if not any(column.title == AGE.title for column in own):
        own.append(AGE)
    return [*scoped, *own, *((PARTITION,) if wide else ())]


def columns_of(kind: str, *, wide: bool = False, scoped: Sequence[Column] = ()) -> list[Column]:
    """`scoped`: columns in front, for lists over several tenants or namespaces."""
    own = [column for column in _COLUMNS.get(kind, (NAME, AGE)) if wide or not column.wide]
    if wide and PARTITION not in own:
        own.append(PARTITION)
    return [*scoped, *own]
