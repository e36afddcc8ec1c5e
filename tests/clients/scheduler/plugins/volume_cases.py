"""Random pods with claims, and what there is of volumes and classes, on the nodes of two resource partitions.

As `cases.py`: a case is drawn from one number. Everything is drawn in plain values, as manifests have them; what
plugins see is read from these by the code that the scheduler uses.
"""

from __future__ import annotations

from random import Random
from typing import Any

from ursa.clients.scheduler.columns import NodeColumns
from ursa.clients.scheduler.framework.shape import Shape
from ursa.clients.scheduler.node_facts import read_node
from ursa.clients.scheduler.template import Templates
from ursa.clients.scheduler.volumes import Volumes
from ursa.proto.objects import Object, encode
from ursa.proto.volumes import CLAIMS, STORAGE_CLASSES, VOLUMES

from ..objects import node

ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
OLD_ZONE, OLD_REGION = "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region"
HOST = "kubernetes.io/hostname"
KEYS = {ZONE: ("a", "b", "c"), REGION: ("r", "s"), HOST: ("n0", "n1", "n2"), OLD_ZONE: ("a", "b"), OLD_REGION: ("r",)}
CLASSES = ("wait", "make", "now", "")
SELECTED, PARTITION = "volume.kubernetes.io/selected-node", "ursa.dev/selected-resource-partition"
Dict = dict[str, Any]


def draw_labels(random: Random) -> dict[str, str]:
    return {key: random.choice(values) for key, values in KEYS.items() if random.random() < 0.5}


def draw_expression(random: Random) -> Dict:
    key = random.choice([ZONE, ZONE, HOST, HOST, REGION])
    operator = random.choice(["In", "In", "In", "NotIn", "Exists", "DoesNotExist"])
    if operator in ("Exists", "DoesNotExist"):
        return {"key": key, "operator": operator}
    return {"key": key, "operator": operator, "values": random.sample(KEYS[key], random.choice([1, 1, 1, 2]))}


def draw_affinity(random: Random) -> Dict | None:
    if random.random() < 0.25:
        return None
    if random.random() < 0.5:
        key = random.choice([ZONE, HOST])
        expression = {"key": key, "operator": "In", "values": random.sample(KEYS[key], random.choice([1, 1, 2]))}
        return {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}
    terms = []
    for _ in range(random.choice([1, 1, 1, 2])):
        term: Dict = {"matchExpressions": [draw_expression(random) for _ in range(random.choice([1, 1, 1, 2]))]}
        if random.random() < 0.1:
            term["matchFields"] = [{"key": "metadata.name", "operator": "In", "values": ["n0"]}]
        terms.append(term)
    return {"required": {"nodeSelectorTerms": terms}}


def draw_class(random: Random, name: str) -> Dict:
    provisioner = random.choice(["ursa.dev/hollow", "example.com/disks"])
    if name == "wait" and random.random() < 0.6:
        provisioner = "kubernetes.io/no-provisioner"
    made: Dict = {"provisioner": provisioner}
    made["volumeBindingMode"] = "Immediate" if name == "now" else "WaitForFirstConsumer"
    if random.random() < 0.4:
        made["allowedTopologies"] = [
            {
                "matchLabelExpressions": [
                    {"key": key, "values": random.sample(KEYS[key], random.choice([1, 2]))}
                    for key in random.sample([ZONE, REGION], random.choice([1, 1, 2]))
                    if len(KEYS[key]) > 1
                ]
            }
            for _ in range(random.choice([1, 2]))
        ]
    return {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}, **made}


def draw_volume(random: Random, name: str, claims: list[str]) -> Dict:
    labels = {key: random.choice(values) for key, values in KEYS.items() if key != HOST and random.random() < 0.25}
    if ZONE in labels and random.random() < 0.3:
        labels[ZONE] = "__".join(random.sample(KEYS[ZONE], 2))
    if random.random() < 0.3:
        labels["disk"] = "ssd"
    spec: Dict = {
        "capacity": {"storage": random.choice(["1Gi", "2Gi", "2Gi", "5Gi"])},
        "accessModes": random.choice([["ReadWriteOnce"]] * 3 + [["ReadWriteMany", "ReadWriteOnce"], ["ReadOnlyMany"]]),
        "volumeMode": random.choice(["Filesystem"] * 11 + ["Block"]),
        "storageClassName": random.choice(["wait"] * 6 + ["make"] * 2 + ["now"]),
    }
    affinity = draw_affinity(random)
    if affinity is not None:
        spec["nodeAffinity"] = affinity
    if random.random() < 0.12:
        claim = random.choice([*claims, "other"])
        uid = random.choice(["", f"uid-{claim}", "uid-of-an-older-one"])
        spec["claimRef"] = {"namespace": random.choice(["default"] * 4 + ["else"]), "name": claim, "uid": uid}
    metadata: Dict = {"name": name, "tenant": random.choice(["acme"] * 19 + ["rival"]), "labels": labels, "uid": name}
    if random.random() < 0.05:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    status = {"phase": random.choice(["Available"] * 15 + ["Pending", "Released", "Bound"])}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec, "status": status}


def draw_claim(random: Random, name: str, volumes: list[str]) -> Dict:
    spec: Dict = {
        "accessModes": random.choice([["ReadWriteOnce"]] * 6 + [["ReadWriteMany"], ["ReadWriteOnce", "ReadOnlyMany"]]),
        "resources": {"requests": {"storage": random.choice(["1Gi", "2Gi", "3Gi"])}},
        "storageClassName": random.choice(["wait"] * 16 + ["make"] * 5 + ["now", "", "unknown"]),
        "volumeMode": random.choice(["Filesystem"] * 14 + ["Block"]),
    }
    if random.random() < 0.15:
        spec["selector"] = {"matchLabels": {"disk": "ssd"}}
    metadata: Dict = {"name": name, "tenant": "acme", "namespace": "default", "uid": f"uid-{name}", "annotations": {}}
    phase = "Pending"
    if random.random() < 0.25:
        spec["volumeName"] = "gone" if not volumes or random.random() < 0.1 else random.choice(volumes)
        if random.random() < 0.9:
            metadata["annotations"]["pv.kubernetes.io/bind-completed"] = "yes"
            phase = "Bound"
    elif random.random() < 0.15:
        metadata["annotations"][SELECTED] = random.choice(["n0", "n1"])
        if random.random() < 0.7:
            metadata["annotations"][PARTITION] = random.choice(["rp-1", "rp-2"])
    if random.random() < 0.03:
        phase = "Lost"
    if random.random() < 0.03:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    kind = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    return {**kind, "metadata": metadata, "spec": spec, "status": {"phase": phase}}


class VolumeCase:
    """`nodes`: (partition, name, labels), whose slots are their places in the list. `names`: the claims of the pod."""

    def __init__(self, seed: int) -> None:
        random = Random(seed)
        self.nodes = [
            (partition, name, draw_labels(random))
            for partition in ("rp-1", "rp-2")
            for name in ("n0", "n1", "n2")[: random.choice([1, 2, 3])]
        ]
        self.names = [f"c{number}" for number in range(random.choice([1, 1, 1, 2, 2, 3]))]
        volume_names = [f"v{number}" for number in range(random.choice([0, 2, 5, 8, 12]))]
        self.volumes = [draw_volume(random, name, self.names) for name in volume_names]
        self.claims = [draw_claim(random, name, volume_names) for name in self.names if random.random() < 0.97]
        self.classes = [draw_class(random, name) for name in ("wait", "make", "now")]
        self.columns = NodeColumns(seed=seed % 1000)
        for partition, name, labels in self.nodes:
            self.columns.set_open(partition, True)
            self.columns.set_node(partition, name, read_node(node(name, labels=labels, uid=partition + name)))
        tell(self.columns.volumes, self.classes, self.claims, self.volumes)
        volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in self.names]
        template = Templates().of(encode({"containers": [{"name": "a"}], "volumes": volumes}))
        self.shape = Shape(1, template, "acme", "default", {})


def tell(known: Volumes, classes: list[Dict], claims: list[Dict], volumes: list[Dict]) -> None:
    for resource, manifests in ((STORAGE_CLASSES, classes), (CLAIMS, claims), (VOLUMES, volumes)):
        for manifest in manifests:
            known.seen(resource, Object.from_dict(manifest))
    known.complete = True
