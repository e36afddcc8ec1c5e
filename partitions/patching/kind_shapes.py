"""The forms of the kinds: what patches, apply and field validation know of each."""

from __future__ import annotations

from functools import lru_cache

from ...proto.kinds import Kind
from .pod_shapes import (
    CONDITIONS,
    LABEL_SELECTOR,
    NODE_CONDITIONS,
    NODE_SELECTOR,
    POD_SPEC,
    POD_STATUS,
    VENDOR_VOLUMES,
)
from .schema_shapes import shape_of_schema
from .shapes import ANY, ATOMIC_STRINGS, LIST, SET, STRINGS, Form, Shape, atomic, keyed, list_of, merged_only, struct

_OWNER = atomic(struct("apiVersion kind name uid controller blockOwnerDeletion"))

METADATA = struct(
    "name generateName namespace tenant uid resourceVersion generation creationTimestamp deletionTimestamp "
    "deletionGracePeriodSeconds selfLink",
    labels=STRINGS,
    annotations=STRINGS,
    finalizers=SET,
    ownerReferences=keyed(_OWNER, "uid"),
    managedFields=LIST,
)
_TEMPLATE = struct(metadata=METADATA, spec=POD_SPEC)


def _kind(scalars: str = "", **fields: Shape) -> Shape:
    return struct(f"apiVersion kind {scalars}", metadata=METADATA, **fields)


_PHASED = struct("phase", conditions=CONDITIONS)
_PARTITION = _kind(spec=struct("address state epoch"), status=ANY)
_QUOTA = _kind(spec=struct("scopeSelector", hard=STRINGS, scopes=LIST), status=struct("", hard=STRINGS, used=STRINGS))
_OBJECT_REFERENCE = atomic(struct("apiVersion kind namespace name uid resourceVersion fieldPath tenant"))

_JOB_SPEC = struct(
    "parallelism completions activeDeadlineSeconds backoffLimit backoffLimitPerIndex maxFailedIndexes "
    "manualSelector ttlSecondsAfterFinished completionMode suspend podReplacementPolicy managedBy",
    selector=LABEL_SELECTOR,
    template=_TEMPLATE,
    podFailurePolicy=ANY,
    successPolicy=ANY,
)

_ENDPOINT_PORTS = list_of(atomic(struct("name port protocol appProtocol")))
_ENDPOINT_ADDRESS = atomic(struct("ip hostname nodeName", targetRef=_OBJECT_REFERENCE))

_BY_KIND: dict[str, Shape] = {
    "Tenant": _kind(spec=struct(), status=_PHASED),
    "Namespace": _kind(spec=struct(finalizers=LIST), status=_PHASED),
    "Pod": _kind(spec=POD_SPEC, status=POD_STATUS),
    "ReplicaSet": _kind(
        spec=struct("replicas minReadySeconds", selector=LABEL_SELECTOR, template=_TEMPLATE),
        status=struct(
            "replicas fullyLabeledReplicas readyReplicas availableReplicas terminatingReplicas observedGeneration",
            conditions=CONDITIONS,
        ),
    ),
    "Deployment": _kind(
        spec=struct(
            "replicas minReadySeconds revisionHistoryLimit paused progressDeadlineSeconds",
            selector=LABEL_SELECTOR,
            template=_TEMPLATE,
            strategy=struct("type", rollingUpdate=struct("maxUnavailable maxSurge")),
        ),
        status=struct(
            "observedGeneration replicas updatedReplicas readyReplicas availableReplicas unavailableReplicas "
            "terminatingReplicas collisionCount",
            conditions=CONDITIONS,
        ),
    ),
    "StatefulSet": _kind(
        spec=struct(
            "replicas minReadySeconds revisionHistoryLimit serviceName podManagementPolicy",
            selector=LABEL_SELECTOR,
            template=_TEMPLATE,
            updateStrategy=struct("type", rollingUpdate=struct("partition maxUnavailable")),
            ordinals=struct("start"),
            volumeClaimTemplates=LIST,
            persistentVolumeClaimRetentionPolicy=struct("whenDeleted whenScaled"),
        ),
        status=struct(
            "observedGeneration replicas readyReplicas currentReplicas updatedReplicas availableReplicas "
            "currentRevision updateRevision collisionCount",
            conditions=CONDITIONS,
        ),
    ),
    "DaemonSet": _kind(
        spec=struct(
            "minReadySeconds revisionHistoryLimit",
            selector=LABEL_SELECTOR,
            template=_TEMPLATE,
            updateStrategy=struct("type", rollingUpdate=struct("maxUnavailable maxSurge")),
        ),
        status=struct(
            "observedGeneration currentNumberScheduled desiredNumberScheduled numberMisscheduled numberReady "
            "numberAvailable numberUnavailable updatedNumberScheduled collisionCount",
            conditions=CONDITIONS,
        ),
    ),
    "ControllerRevision": _kind("revision", data=ANY),
    "Job": _kind(
        spec=_JOB_SPEC,
        status=struct(
            "startTime completionTime active succeeded failed terminating ready completedIndexes failedIndexes",
            conditions=CONDITIONS,
            uncountedTerminatedPods=struct(succeeded=SET, failed=SET),
        ),
    ),
    "CronJob": _kind(
        spec=struct(
            "schedule timeZone startingDeadlineSeconds concurrencyPolicy suspend successfulJobsHistoryLimit "
            "failedJobsHistoryLimit",
            jobTemplate=struct(metadata=METADATA, spec=_JOB_SPEC),
        ),
        status=struct("lastScheduleTime lastSuccessfulTime", active=list_of(_OBJECT_REFERENCE)),
    ),
    "PodDisruptionBudget": _kind(
        spec=struct("minAvailable maxUnavailable unhealthyPodEvictionPolicy", selector=LABEL_SELECTOR),
        status=struct(
            "observedGeneration disruptionsAllowed currentHealthy desiredHealthy expectedPods",
            disruptedPods=STRINGS,
            conditions=CONDITIONS,
        ),
    ),
    "PriorityClass": _kind("value globalDefault preemptionPolicy description"),
    "StorageClass": _kind(
        "provisioner reclaimPolicy volumeBindingMode allowVolumeExpansion",
        parameters=STRINGS,
        mountOptions=LIST,
        allowedTopologies=atomic(list_of(struct("", matchLabelExpressions=list_of(struct("key", values=LIST))))),
    ),
    "PersistentVolume": _kind(
        spec=struct(
            f"storageClassName persistentVolumeReclaimPolicy volumeMode volumeAttributesClassName {VENDOR_VOLUMES}",
            accessModes=LIST,
            capacity=STRINGS,
            claimRef=_OBJECT_REFERENCE,
            mountOptions=LIST,
            nodeAffinity=struct("", required=NODE_SELECTOR),
            hostPath=struct("path type"),
            local=struct("path fsType"),
            nfs=struct("server path readOnly"),
            iscsi=ANY,
            csi=ANY,
        ),
        status=struct("phase message reason lastPhaseTransitionTime"),
    ),
    "PersistentVolumeClaim": _kind(
        spec=struct(
            "storageClassName volumeMode volumeName volumeAttributesClassName",
            accessModes=LIST,
            resources=struct("", requests=STRINGS, limits=STRINGS),
            selector=LABEL_SELECTOR,
            dataSource=atomic(struct("apiGroup kind name")),
            dataSourceRef=atomic(struct("apiGroup kind name namespace")),
        ),
        status=struct(
            "phase currentVolumeAttributesClassName",
            accessModes=LIST,
            capacity=STRINGS,
            allocatedResources=STRINGS,
            allocatedResourceStatuses=STRINGS,
            conditions=CONDITIONS,
            modifyVolumeStatus=ANY,
        ),
    ),
    "Service": _kind(
        spec=struct(
            "type clusterIP externalName sessionAffinity publishNotReadyAddresses internalTrafficPolicy "
            "externalTrafficPolicy healthCheckNodePort loadBalancerIP loadBalancerClass allocateLoadBalancerNodePorts "
            "ipFamilyPolicy trafficDistribution",
            selector=ATOMIC_STRINGS,
            ports=keyed(
                struct("name protocol port targetPort nodePort appProtocol"),
                "port",
                "protocol",
                merge_key="port",
                protocol="TCP",
            ),
            clusterIPs=LIST,
            ipFamilies=LIST,
            externalIPs=LIST,
            loadBalancerSourceRanges=LIST,
            sessionAffinityConfig=struct(clientIP=struct("timeoutSeconds")),
        ),
        status=struct("", loadBalancer=struct(ingress=LIST), conditions=CONDITIONS),
    ),
    "Endpoints": _kind(
        subsets=list_of(
            struct(
                "",
                addresses=list_of(_ENDPOINT_ADDRESS),
                notReadyAddresses=list_of(_ENDPOINT_ADDRESS),
                ports=_ENDPOINT_PORTS,
            )
        )
    ),
    "EndpointSlice": _kind(
        "addressType",
        endpoints=list_of(
            struct(
                "hostname nodeName zone",
                addresses=SET,
                conditions=struct("ready serving terminating"),
                targetRef=_OBJECT_REFERENCE,
                deprecatedTopology=STRINGS,
                hints=ANY,
            )
        ),
        ports=_ENDPOINT_PORTS,
    ),
    "ConfigMap": _kind("immutable", data=STRINGS, binaryData=STRINGS),
    "Secret": _kind("immutable type", data=STRINGS, stringData=STRINGS),
    "Event": _kind(
        "reason message firstTimestamp lastTimestamp count type eventTime action reportingComponent reportingInstance",
        involvedObject=_OBJECT_REFERENCE,
        related=_OBJECT_REFERENCE,
        source=struct("component host"),
        series=struct("count lastObservedTime"),
    ),
    "Node": _kind(
        spec=struct(
            "podCIDR providerID unschedulable externalID",
            podCIDRs=SET,
            taints=merged_only(struct("key value effect timeAdded"), ""),
            configSource=ANY,
        ),
        status=struct(
            "phase",
            capacity=STRINGS,
            allocatable=STRINGS,
            conditions=NODE_CONDITIONS,
            addresses=keyed(struct("type address"), "type"),
            daemonEndpoints=struct(kubeletEndpoint=struct("Port")),
            nodeInfo=ANY,
            images=LIST,
            volumesInUse=LIST,
            volumesAttached=list_of(struct("name devicePath")),
            config=ANY,
            runtimeHandlers=LIST,
            features=ANY,
        ),
    ),
    "ResourceQuota": _QUOTA,
    "TenantQuota": _QUOTA,
    "Lease": _kind(
        spec=struct(
            "holderIdentity leaseDurationSeconds acquireTime renewTime leaseTransitions strategy preferredHolder"
        )
    ),
    "Placement": _kind(
        spec=struct(
            "node nodeUID tenantPartition",
            pod=struct("tenant namespace name uid"),
            requests=STRINGS,
            hostPorts=list_of(struct("protocol port address")),
        )
    ),
    "TenantPartition": _PARTITION,
    "ResourcePartition": _PARTITION,
}

# What is known of any object, of a kind that is not in the table.
_OTHER = Shape(Form.ANY, {"metadata": METADATA})

# autoscaling/v1
SCALE = _kind(spec=struct("replicas"), status=struct("replicas selector"))


def shape_of(kind: Kind) -> Shape:
    """Of the objects of a kind; of one that the table does not have, that of their metadata alone."""
    return _BY_KIND.get(kind.kind, _OTHER) if kind.custom is None else _shape_of_custom(kind)


def has_merge_keys(kind: Kind) -> bool:
    """Whether strategic merge patches are served; for custom kinds they are not, as in Kubernetes."""
    return kind.custom is None and kind.kind in _BY_KIND


# A kind is equal to itself only, so one that is defined anew is worked out anew.
@lru_cache(maxsize=256)
def _shape_of_custom(kind: Kind) -> Shape:
    assert kind.custom is not None
    shape = shape_of_schema(kind.custom.schema)
    return Shape(shape.form, {**shape.fields, **dict.fromkeys(("apiVersion", "kind"), ANY), "metadata": METADATA})
