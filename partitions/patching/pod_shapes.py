"""The form of a pod: every field of Kubernetes' core/v1 PodSpec and PodStatus, and how its lists are merged."""

from __future__ import annotations

from .shapes import ANY, ATOMIC_STRINGS, LIST, STRINGS, atomic, keyed, list_of, merged_only, struct

_NAMED = atomic(struct("name"))
_SELECTED_KEY = atomic(struct("name key optional"))
_OBJECT_FIELD = atomic(struct("apiVersion fieldPath"))
_RESOURCE_FIELD = atomic(struct("containerName resource divisor"))
_KEYS_TO_PATHS = list_of(struct("key path mode"))

LABEL_SELECTOR = atomic(struct(matchLabels=STRINGS, matchExpressions=list_of(struct("key operator", values=LIST))))
CONDITIONS = keyed(
    struct("type status reason message lastTransitionTime lastUpdateTime lastProbeTime observedGeneration"), "type"
)
# Kubelets write these in full; apply takes them as Kubernetes does.
NODE_CONDITIONS = keyed(struct("type status reason message lastTransitionTime lastHeartbeatTime"), "type")

_ENV = keyed(
    struct(
        "name value",
        valueFrom=struct(
            fieldRef=_OBJECT_FIELD,
            resourceFieldRef=_RESOURCE_FIELD,
            configMapKeyRef=_SELECTED_KEY,
            secretKeyRef=_SELECTED_KEY,
            fileKeyRef=atomic(struct("volumeName path key optional")),
        ),
    ),
    "name",
)
_ENV_FROM = list_of(struct("prefix", configMapRef=struct("name optional"), secretRef=struct("name optional")))
_PORTS = keyed(
    struct("name hostPort containerPort protocol hostIP"),
    "containerPort",
    "protocol",
    merge_key="containerPort",
    protocol="TCP",
)
_HTTP_GET = struct("path port host scheme", httpHeaders=list_of(struct("name value")))
_ACTIONS = {
    "exec": struct(command=LIST),
    "httpGet": _HTTP_GET,
    "tcpSocket": struct("port host"),
}
_PROBE = struct(
    "initialDelaySeconds timeoutSeconds periodSeconds successThreshold failureThreshold terminationGracePeriodSeconds",
    grpc=struct("port service"),
    **_ACTIONS,
)
_HANDLER = struct(sleep=struct("seconds"), **_ACTIONS)
_CAPABILITIES = struct(add=LIST, drop=LIST)
_SE_LINUX = struct("user role type level")
_SECCOMP = struct("type localhostProfile")
_WINDOWS = struct("gmsaCredentialSpecName gmsaCredentialSpec runAsUserName hostProcess")
_SECURITY_CONTEXT = struct(
    "privileged runAsUser runAsGroup runAsNonRoot readOnlyRootFilesystem allowPrivilegeEscalation procMount",
    capabilities=_CAPABILITIES,
    seLinuxOptions=_SE_LINUX,
    windowsOptions=_WINDOWS,
    seccompProfile=_SECCOMP,
    appArmorProfile=_SECCOMP,
)
RESOURCES = struct(limits=STRINGS, requests=STRINGS, claims=keyed(struct("name request"), "name", merge_key="-"))

_CONTAINER_FIELDS = {
    "ports": _PORTS,
    "command": LIST,
    "args": LIST,
    "env": _ENV,
    "envFrom": _ENV_FROM,
    "resources": RESOURCES,
    "resizePolicy": list_of(struct("resourceName restartPolicy")),
    "restartPolicyRules": list_of(ANY),
    "volumeMounts": keyed(
        struct("name readOnly recursiveReadOnly mountPath subPath subPathExpr mountPropagation"), "mountPath"
    ),
    "volumeDevices": keyed(struct("name devicePath"), "devicePath"),
    "livenessProbe": _PROBE,
    "readinessProbe": _PROBE,
    "startupProbe": _PROBE,
    "lifecycle": struct("stopSignal", postStart=_HANDLER, preStop=_HANDLER),
    "securityContext": _SECURITY_CONTEXT,
}
_CONTAINER_SCALARS = (
    "name image imagePullPolicy workingDir restartPolicy terminationMessagePath terminationMessagePolicy "
    "stdin stdinOnce tty"
)
_CONTAINERS = keyed(struct(_CONTAINER_SCALARS, **_CONTAINER_FIELDS), "name")
_EPHEMERAL_CONTAINERS = keyed(struct(f"{_CONTAINER_SCALARS} targetContainerName", **_CONTAINER_FIELDS), "name")

_DOWNWARD_FILES = list_of(struct("path mode", fieldRef=_OBJECT_FIELD, resourceFieldRef=_RESOURCE_FIELD))
_PROJECTED = list_of(
    struct(
        secret=struct("name optional", items=_KEYS_TO_PATHS),
        configMap=struct("name optional", items=_KEYS_TO_PATHS),
        downwardAPI=struct(items=_DOWNWARD_FILES),
        serviceAccountToken=struct("audience expirationSeconds path"),
        clusterTrustBundle=struct("name signerName optional path", labelSelector=LABEL_SELECTOR),
        podCertificate=ANY,
    )
)
# Drivers of single vendors are passed through as they are.
VENDOR_VOLUMES = (
    "gcePersistentDisk awsElasticBlockStore gitRepo glusterfs rbd flexVolume cinder cephfs flocker fc azureFile "
    "vsphereVolume quobyte azureDisk photonPersistentDisk portworxVolume scaleIO storageos"
)
_VOLUMES = keyed(
    struct(
        f"name {VENDOR_VOLUMES}",
        hostPath=struct("path type"),
        emptyDir=struct("medium sizeLimit"),
        secret=struct("secretName defaultMode optional", items=_KEYS_TO_PATHS),
        configMap=struct("name defaultMode optional", items=_KEYS_TO_PATHS),
        downwardAPI=struct("defaultMode", items=_DOWNWARD_FILES),
        projected=struct("defaultMode", sources=_PROJECTED),
        persistentVolumeClaim=struct("claimName readOnly"),
        nfs=struct("server path readOnly"),
        iscsi=ANY,
        csi=struct("driver readOnly fsType", volumeAttributes=STRINGS, nodePublishSecretRef=_NAMED),
        ephemeral=struct(volumeClaimTemplate=ANY),
        image=struct("reference pullPolicy"),
    ),
    "name",
)
_TOLERATIONS = list_of(struct("key operator value effect tolerationSeconds"))

_NODE_TERM = atomic(
    struct(
        matchExpressions=list_of(struct("key operator", values=LIST)),
        matchFields=list_of(struct("key operator", values=LIST)),
    )
)
NODE_SELECTOR = atomic(struct(nodeSelectorTerms=list_of(_NODE_TERM)))
_POD_TERM = struct(
    "topologyKey",
    labelSelector=LABEL_SELECTOR,
    namespaceSelector=LABEL_SELECTOR,
    namespaces=LIST,
    matchLabelKeys=LIST,
    mismatchLabelKeys=LIST,
)
_POD_AFFINITY = struct(
    requiredDuringSchedulingIgnoredDuringExecution=list_of(_POD_TERM),
    preferredDuringSchedulingIgnoredDuringExecution=list_of(struct("weight", podAffinityTerm=_POD_TERM)),
)
_AFFINITY = struct(
    nodeAffinity=struct(
        requiredDuringSchedulingIgnoredDuringExecution=NODE_SELECTOR,
        preferredDuringSchedulingIgnoredDuringExecution=list_of(struct("weight", preference=_NODE_TERM)),
    ),
    podAffinity=_POD_AFFINITY,
    podAntiAffinity=_POD_AFFINITY,
)

# `resourcePartition` is Ursa's own: where the pod's node is.
POD_SPEC = struct(
    "restartPolicy terminationGracePeriodSeconds activeDeadlineSeconds dnsPolicy serviceAccountName serviceAccount "
    "automountServiceAccountToken nodeName resourcePartition hostNetwork hostPID hostIPC hostUsers "
    "shareProcessNamespace hostname hostnameOverride subdomain setHostnameAsFQDN schedulerName priorityClassName "
    "priority runtimeClassName enableServiceLinks preemptionPolicy",
    containers=_CONTAINERS,
    initContainers=_CONTAINERS,
    ephemeralContainers=_EPHEMERAL_CONTAINERS,
    volumes=_VOLUMES,
    nodeSelector=ATOMIC_STRINGS,
    securityContext=struct(
        "runAsUser runAsGroup runAsNonRoot fsGroup fsGroupChangePolicy supplementalGroupsPolicy seLinuxChangePolicy",
        seLinuxOptions=_SE_LINUX,
        windowsOptions=_WINDOWS,
        supplementalGroups=LIST,
        sysctls=list_of(struct("name value")),
        seccompProfile=_SECCOMP,
        appArmorProfile=_SECCOMP,
    ),
    imagePullSecrets=keyed(_NAMED, "name"),
    affinity=_AFFINITY,
    tolerations=_TOLERATIONS,
    hostAliases=keyed(struct("ip", hostnames=LIST), "ip"),
    dnsConfig=struct(nameservers=LIST, searches=LIST, options=list_of(struct("name value"))),
    readinessGates=list_of(struct("conditionType")),
    overhead=STRINGS,
    topologySpreadConstraints=keyed(
        struct(
            "maxSkew topologyKey whenUnsatisfiable minDomains nodeAffinityPolicy nodeTaintsPolicy",
            labelSelector=LABEL_SELECTOR,
            matchLabelKeys=LIST,
        ),
        "topologyKey",
        "whenUnsatisfiable",
    ),
    os=struct("name"),
    schedulingGates=keyed(struct("name"), "name"),
    resourceClaims=keyed(struct("name resourceClaimName resourceClaimTemplateName"), "name"),
    resources=RESOURCES,
)

POD_STATUS = struct(
    "observedGeneration phase message reason nominatedNodeName hostIP podIP startTime qosClass resize",
    conditions=CONDITIONS,
    hostIPs=merged_only(struct("ip"), "ip"),
    podIPs=keyed(struct("ip"), "ip"),
    initContainerStatuses=LIST,
    containerStatuses=LIST,
    ephemeralContainerStatuses=LIST,
    resourceClaimStatuses=keyed(struct("name resourceClaimName"), "name"),
)
