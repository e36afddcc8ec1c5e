"""The table of kinds: what a partition serves, and where.

Everything that depends on a kind reads it here: the storage key, the role of partition that serves it, the fields that
selectors and watches may use, its short names on the command line. Rules for the contents of an object (defaults,
validation) belong to the apiserver and stand in `partitions/admission`.

`KINDS` are built in. A partition serves these and the custom kinds that its CustomResourceDefinitions define: a
`KindTable` of its own. How a definition reads as a kind is in `custom_kinds`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from .errors import BadRequest, NotFound


class Role(enum.Enum):
    """What a partition holds: the tenants' objects, or the nodes."""

    TENANT = "tenant"
    RESOURCE = "resource"

    @property
    def title(self) -> str:
        return f"{self.value} partition"


class Scope(enum.Enum):
    """Which parts of its key an object of a kind has."""

    CLUSTER = "cluster"  # a name
    TENANT = "tenant"  # a tenant and a name
    NAMESPACE = "namespace"  # a tenant, a namespace and a name


TENANT_ONLY = (Role.TENANT,)
RESOURCE_ONLY = (Role.RESOURCE,)
BOTH = (Role.TENANT, Role.RESOURCE)

# Where the objects of a resource partition that need a tenant and a namespace live. They exist without being created.
SYSTEM_TENANT = "system"
NODE_LEASE_NAMESPACE = "kube-node-lease"

# The stores of a partition. Events are many and worth little, so they may be kept apart, with a quota of their own.
MAIN_STORE = "main"
EVENTS_STORE = "events"
# As Kubernetes' --event-ttl.
EVENT_TTL_SECONDS = 3600


Path = tuple[str, ...]


class ScalePaths(NamedTuple):
    """Where a kind keeps what its Scale shows. An empty `selector`: it shows none."""

    spec_replicas: Path
    status_replicas: Path
    selector: Path = ()


class PrinterColumn(NamedTuple):
    """A column of `ursa get`. `path`: a JSONPath; `type`: string, integer, date, ...; `wide`: only with -o wide."""

    name: str
    path: str
    type: str
    wide: bool


class Custom(NamedTuple):
    """What a definition says of its kind beyond what every kind has. `schema`: OpenAPI v3, structural."""

    schema: Mapping[str, Any]
    columns: tuple[PrinterColumn, ...]


# One workload's Scale is like the other's.
_WORKLOAD_SCALE = ScalePaths(("spec", "replicas"), ("status", "replicas"), ("spec", "selector"))


@dataclass(frozen=True, eq=False)
class Kind:
    """One row of the table. It is equal to itself only: another definition makes another kind, whatever it is called.

    `fields` maps each field selector beyond `metadata.name` and `metadata.namespace` to its path in the object.
    `indexes` are those of them by which a list or a watch finds its objects without looking at the others.
    `store` names the store that keeps its objects where the partition has one of that name; else the main one does.
    `ttl_seconds`: an object that has not changed for so long is deleted; 0: it stays.
    `scale`: it has a scale subresource. `custom`: it is defined by a CustomResourceDefinition.
    """

    kind: str
    plural: str
    version: str
    group: str = ""
    scope: Scope = Scope.NAMESPACE
    roles: tuple[Role, ...] = TENANT_ONLY
    short_names: tuple[str, ...] = ()
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    indexes: tuple[str, ...] = ()
    has_status: bool = True
    store: str = MAIN_STORE
    ttl_seconds: int = 0
    scale: ScalePaths | None = None
    custom: Custom | None = None
    singular_name: str = ""  # Empty: as the kind.

    @cached_property
    def resource(self) -> str:
        """`pods`, `deployments.apps`: the name on the wire, in keys and in metrics."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.singular_name or self.kind.lower()

    @cached_property
    def places(self) -> dict[str, int]:
        """The place of each field among the values of all fields."""
        return {name: place for place, name in enumerate(self.fields)}

    @cached_property
    def indexed_places(self) -> tuple[int, ...]:
        return tuple(self.places[name] for name in self.indexes)

    def key(self, tenant: str, namespace: str, name: str) -> str:
        """The storage key. Parts that the scope does not have are empty, so that every key has the same shape."""
        return f"/registry/{self.resource}/{tenant}/{namespace}/{name}"


URSA_GROUP = "ursa.dev"
EXTENSIONS_GROUP = "apiextensions.k8s.io"
BATCH_GROUP = "batch"
DISCOVERY_GROUP = "discovery.k8s.io"
SCHEDULING_GROUP = "scheduling.k8s.io"
STORAGE_GROUP = "storage.k8s.io"
ADMISSION_GROUP = "admissionregistration.k8s.io"

KINDS: tuple[Kind, ...] = (
    Kind("Tenant", "tenants", "v1", URSA_GROUP, Scope.CLUSTER),
    Kind(
        "Namespace",
        "namespaces",
        "v1",
        scope=Scope.TENANT,
        short_names=("ns",),
        fields={"status.phase": ("status", "phase")},
    ),
    Kind(
        "Pod",
        "pods",
        "v1",
        roles=BOTH,  # A resource partition has those of its nodes themselves.
        short_names=("po",),
        fields={
            "spec.nodeName": ("spec", "nodeName"),
            "spec.resourcePartition": ("spec", "resourcePartition"),
            "spec.schedulerName": ("spec", "schedulerName"),
            # "true" where the pod says something of other pods.
            "spec.affinity.podAffinity": ("spec", "affinity", "podAffinity"),
            "spec.affinity.podAntiAffinity": ("spec", "affinity", "podAntiAffinity"),
            "status.phase": ("status", "phase"),
        },
        indexes=("spec.nodeName",),
    ),
    Kind("ReplicaSet", "replicasets", "v1", "apps", short_names=("rs",), scale=_WORKLOAD_SCALE),
    Kind("Deployment", "deployments", "v1", "apps", short_names=("deploy",), scale=_WORKLOAD_SCALE),
    Kind("StatefulSet", "statefulsets", "v1", "apps", short_names=("sts",), scale=_WORKLOAD_SCALE),
    Kind("DaemonSet", "daemonsets", "v1", "apps", roles=RESOURCE_ONLY, short_names=("ds",)),
    # What a StatefulSet or a DaemonSet once was: its template.
    Kind("ControllerRevision", "controllerrevisions", "v1", "apps", roles=BOTH, has_status=False),
    Kind("Job", "jobs", "v1", BATCH_GROUP),
    Kind("CronJob", "cronjobs", "v1", BATCH_GROUP, short_names=("cj",)),
    Kind(
        "Service",
        "services",
        "v1",
        short_names=("svc",),
        fields={"spec.type": ("spec", "type"), "spec.clusterIP": ("spec", "clusterIP")},
    ),
    Kind("Endpoints", "endpoints", "v1", short_names=("ep",), has_status=False),
    Kind("EndpointSlice", "endpointslices", "v1", DISCOVERY_GROUP, has_status=False),
    Kind(
        "PriorityClass",
        "priorityclasses",
        "v1",
        SCHEDULING_GROUP,
        Scope.CLUSTER,
        TENANT_ONLY,
        ("pc",),
        has_status=False,
    ),
    Kind(
        "StorageClass",
        "storageclasses",
        "v1",
        STORAGE_GROUP,
        Scope.CLUSTER,
        TENANT_ONLY,
        ("sc",),
        has_status=False,
    ),
    # A tenant is a cluster of its own: it has volumes, and takes them along when it moves.
    Kind("PersistentVolume", "persistentvolumes", "v1", scope=Scope.TENANT, short_names=("pv",)),
    Kind("PersistentVolumeClaim", "persistentvolumeclaims", "v1", short_names=("pvc",)),
    Kind("PodDisruptionBudget", "poddisruptionbudgets", "v1", "policy", short_names=("pdb",)),
    Kind("ConfigMap", "configmaps", "v1", short_names=("cm",), has_status=False),
    Kind("Secret", "secrets", "v1", fields={"type": ("type",)}, has_status=False),
    Kind("ResourceQuota", "resourcequotas", "v1", short_names=("quota",)),
    # What a ResourceQuota is for a namespace, for all namespaces of a tenant together.
    Kind("TenantQuota", "tenantquotas", "v1", URSA_GROUP, Scope.TENANT),
    Kind(
        "Event",
        "events",
        "v1",
        roles=BOTH,
        short_names=("ev",),
        fields={
            "involvedObject.kind": ("involvedObject", "kind"),
            "involvedObject.namespace": ("involvedObject", "namespace"),
            "involvedObject.name": ("involvedObject", "name"),
            "involvedObject.uid": ("involvedObject", "uid"),
            "reason": ("reason",),
            "type": ("type",),
        },
        indexes=("involvedObject.uid", "involvedObject.name"),
        has_status=False,
        store=EVENTS_STORE,
        ttl_seconds=EVENT_TTL_SECONDS,
    ),
    Kind(
        "Node",
        "nodes",
        "v1",
        scope=Scope.CLUSTER,
        roles=RESOURCE_ONLY,
        short_names=("no",),
        fields={"spec.unschedulable": ("spec", "unschedulable")},
    ),
    Kind("Lease", "leases", "v1", "coordination.k8s.io", roles=BOTH, has_status=False),
    Kind(
        "Placement",
        "placements",
        "v1",
        URSA_GROUP,
        Scope.CLUSTER,
        RESOURCE_ONLY,
        fields={"spec.node": ("spec", "node"), "spec.tenantPartition": ("spec", "tenantPartition")},
        indexes=("spec.node",),
        has_status=False,
    ),
    Kind(
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        "v1",
        ADMISSION_GROUP,
        Scope.CLUSTER,
        BOTH,
        has_status=False,
    ),
    Kind(
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        "v1",
        ADMISSION_GROUP,
        Scope.CLUSTER,
        BOTH,
        has_status=False,
    ),
    Kind("TenantPartition", "tenantpartitions", "v1", URSA_GROUP, Scope.CLUSTER, BOTH, ("tp",)),
    Kind("ResourcePartition", "resourcepartitions", "v1", URSA_GROUP, Scope.CLUSTER, BOTH, ("rp",)),
    Kind(
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "v1",
        EXTENSIONS_GROUP,
        Scope.CLUSTER,
        BOTH,
        ("crd", "crds"),
    ),
)

BY_KIND: dict[str, Kind] = {kind.kind: kind for kind in KINDS}
BY_RESOURCE: dict[str, Kind] = {kind.resource: kind for kind in KINDS}


class KindTable:
    """The kinds that somebody knows: those built in, and custom ones as they come and go."""

    def __init__(self, custom: Iterable[Kind] = ()) -> None:
        self._by_resource = dict(BY_RESOURCE)
        self._by_name: dict[str, Kind] = {}
        self._by_group_kind: dict[tuple[str, str], Kind] = {}
        self._indexed = False  # Made when it is first asked for: a partition may open with a thousand definitions.
        for kind in custom:
            self._by_resource[kind.resource] = kind

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._by_resource.values())

    def get(self, resource: str) -> Kind | None:
        return self._by_resource.get(resource)

    @property
    def custom(self) -> list[Kind]:
        return [kind for kind in self if kind.custom is not None]

    def put(self, kind: Kind) -> None:
        """Take in a custom kind, in the place of one with its resource."""
        self._by_resource[kind.resource] = kind
        self._indexed = False

    def discard(self, resource: str) -> None:
        self._by_resource.pop(resource, None)
        self._indexed = False

    def named(self, name: str) -> Kind:
        """The kind a person means by `pods`, `pod`, `po`, `Pod` or `deployments.apps`; of several, the oldest.

        Raises:
            NotFound: there is none; the message lists what there is.
        """
        self._index()
        found = self._by_name.get(name.lower())
        if found is None:
            known = ", ".join(self._by_resource)
            raise NotFound(f"there is no kind {name!r}; known are {known}")
        return found

    def of(self, api_version: str, kind: str) -> Kind:
        """The kind of a manifest.

        Raises:
            BadRequest: unknown, or of another group or version.
        """
        self._index()
        group = api_version.rpartition("/")[0]
        found = self._by_group_kind.get((group, kind)) or BY_KIND.get(kind)
        if found is None:
            known = ", ".join(each.kind for each in self)
            raise BadRequest(f"there is no kind {kind!r}; known are {known}")
        if api_version != found.api_version:
            raise BadRequest(f"kind {kind} is served as apiVersion {found.api_version}, not {api_version or 'empty'}")
        return found

    def _index(self) -> None:
        if self._indexed:
            return
        self._indexed = True
        self._by_name, self._by_group_kind = {}, {}
        for kind in self:
            self._by_group_kind[kind.group, kind.kind] = kind
            for name in (kind.plural, kind.resource, kind.singular, kind.kind.lower(), *kind.short_names):
                self._by_name.setdefault(name.lower(), kind)


_BUILT_IN = KindTable()


def kind_of(api_version: str, kind: str) -> Kind:
    """The built-in kind of a manifest: see `KindTable.of`."""
    return _BUILT_IN.of(api_version, kind)
