"""What everybody who deals with volumes goes by: the names that Kubernetes has for kinds, annotations and policies.

A claim (PersistentVolumeClaim) is bound to a volume (PersistentVolume) when each names the other: `spec.claimRef` of
the volume, by uid, and `spec.volumeName` of the claim, with the annotation BIND_COMPLETED.
https://kubernetes.io/docs/concepts/storage/persistent-volumes/

Volumes and claims are a tenant's, classes are of all tenants. What Kubernetes' annotation for a chosen node cannot say
is in which resource partition it is: SELECTED_PARTITION does.
"""

from __future__ import annotations

from typing import Final

from .kinds import BY_KIND

VOLUMES: Final = BY_KIND["PersistentVolume"].resource
CLAIMS: Final = BY_KIND["PersistentVolumeClaim"].resource
STORAGE_CLASSES: Final = BY_KIND["StorageClass"].resource

STORAGE: Final = "storage"  # The only resource of a claim, and the only capacity of a volume.
ACCESS_MODES: Final = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
FILESYSTEM, BLOCK = "Filesystem", "Block"
IMMEDIATE, WAIT_FOR_FIRST_CONSUMER = "Immediate", "WaitForFirstConsumer"
RETAIN, DELETE, RECYCLE = "Retain", "Delete", "Recycle"
PENDING, AVAILABLE, BOUND, RELEASED, FAILED, LOST = "Pending", "Available", "Bound", "Released", "Failed", "Lost"

YES: Final = "yes"
BIND_COMPLETED: Final = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER: Final = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"
PROVISIONER: Final = "volume.kubernetes.io/storage-provisioner"
SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
SELECTED_PARTITION: Final = "ursa.dev/selected-resource-partition"
DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"

# The provisioner that comes with Ursa. Its volumes hold nothing: hollow kubelets mount none.
HOLLOW_PROVISIONER: Final = "ursa.dev/hollow"
# Classes of this one have no provisioner: somebody makes the volumes by hand.
NO_PROVISIONER: Final = "kubernetes.io/no-provisioner"

ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
