"""What Kubernetes' documentation says of claims and volumes, for one node, in plain values: the plugins name the pages.

Where a volume names a claim that waits, that volume decides, and no other is made; Kubernetes' scheduler would have one
made for a node where that volume cannot be used, and its controller would then bind that volume all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .volume_cases import OLD_REGION, OLD_ZONE, PARTITION, REGION, SELECTED, ZONE, VolumeCase

Labels = Mapping[str, str]
SIZES = {"1Gi": 1, "2Gi": 2, "3Gi": 3, "5Gi": 5}


def fits(case: VolumeCase, partition: str, name: str, labels: Labels) -> bool:
    claims = {each["metadata"]["name"]: each for each in case.claims}
    waiting = []
    for claim_name in case.names:
        claim = claims.get(claim_name)
        if claim is None or claim["status"]["phase"] == "Lost" or "deletionTimestamp" in claim["metadata"]:
            return False
        spec = claim["spec"]
        if "volumeName" in spec and claim["metadata"]["annotations"]:
            volume = volume_of(case, spec["volumeName"])
            if volume is None or not usable(volume, name, labels):
                return False
        elif "volumeName" in spec or spec["storageClassName"] not in ("wait", "make"):
            return False
        else:
            waiting.append(claim)
    return all_get_volumes(case, waiting, (partition, name, labels))


def all_get_volumes(case: VolumeCase, waiting: list[Any], node: tuple[str, str, Labels]) -> bool:
    classes = {each["metadata"]["name"]: each for each in case.classes}
    used: list[str] = []
    for claim in sorted(waiting, key=lambda each: SIZES[each["spec"]["resources"]["requests"]["storage"]]):
        made = makes(classes[claim["spec"]["storageClassName"]], node[2])
        annotations = claim["metadata"]["annotations"]
        if SELECTED in annotations:
            if not made or (annotations.get(PARTITION, node[0]), annotations[SELECTED]) != node[:2]:
                return False
            continue
        named = [each for each in case.volumes if is_for(each, claim) and is_large_enough(each, claim)]
        found = sorted(named, key=order)[:1] or sorted((v for v in case.volumes if is_free(v, claim)), key=order)
        left = [v["metadata"]["name"] for v in found if usable(v, *node[1:]) and v["metadata"]["name"] not in used]
        if left:
            used.append(left[0])
        elif named or not made:
            return False
    return True


def order(volume: Mapping[str, Any]) -> tuple[int, int, str]:
    spec = volume["spec"]
    return SIZES[spec["capacity"]["storage"]], len(spec["accessModes"]), volume["metadata"]["name"]


def volume_of(case: VolumeCase, name: str) -> Mapping[str, Any] | None:
    own = [each for each in case.volumes if each["metadata"]["tenant"] == "acme"]
    return next((each for each in own if each["metadata"]["name"] == name), None)


def is_for(volume: Mapping[str, Any], claim: Mapping[str, Any]) -> bool:
    reference, metadata = volume["spec"].get("claimRef"), claim["metadata"]
    if reference is None or volume["metadata"]["tenant"] != "acme":
        return False
    same = (reference["namespace"], reference["name"]) == ("default", metadata["name"])
    return same and reference["uid"] in ("", metadata["uid"])


def is_large_enough(volume: Mapping[str, Any], claim: Mapping[str, Any]) -> bool:
    wanted = SIZES[claim["spec"]["resources"]["requests"]["storage"]]
    return (
        SIZES[volume["spec"]["capacity"]["storage"]] >= wanted
        and volume["spec"]["volumeMode"] == claim["spec"]["volumeMode"]
        and "deletionTimestamp" not in volume["metadata"]
    )


def is_free(volume: Mapping[str, Any], claim: Mapping[str, Any]) -> bool:
    spec = volume["spec"]
    labels = claim["spec"].get("selector", {"matchLabels": {}})["matchLabels"]
    return (
        is_large_enough(volume, claim)
        and volume["metadata"]["tenant"] == "acme"
        and "claimRef" not in spec
        and volume["status"]["phase"] == "Available"
        and spec["storageClassName"] == claim["spec"]["storageClassName"]
        and all(mode in spec["accessModes"] for mode in claim["spec"]["accessModes"])
        and labels.items() <= volume["metadata"]["labels"].items()
    )


def usable(volume: Mapping[str, Any], name: str, labels: Labels) -> bool:
    affinity = volume["spec"].get("nodeAffinity")
    return affinity is None or any(selects(term, name, labels) for term in affinity["required"]["nodeSelectorTerms"])


def selects(term: Mapping[str, Any], name: str, labels: Labels) -> bool:
    if any(name not in field["values"] for field in term.get("matchFields", [])):
        return False
    for expression in term["matchExpressions"]:
        value = labels.get(expression["key"])
        match expression["operator"]:
            case "In":
                holds = value in expression["values"]
            case "NotIn":
                holds = value not in expression["values"]
            case "Exists":
                holds = value is not None
            case _:
                holds = value is None
        if not holds:
            return False
    return True


def makes(of: Mapping[str, Any], labels: Labels) -> bool:
    if of["provisioner"] == "kubernetes.io/no-provisioner":
        return False
    topologies = of.get("allowedTopologies", [])
    return not topologies or any(
        all(labels.get(each["key"]) in each["values"] for each in topology["matchLabelExpressions"])
        for topology in topologies
    )


def in_zone(case: VolumeCase, labels: Labels) -> bool:
    if not any(key in labels for key in (ZONE, REGION, OLD_ZONE, OLD_REGION)):
        return True
    for claim in case.claims:
        volume = volume_of(case, claim["spec"].get("volumeName", ""))
        for key, newer in ((ZONE, ZONE), (REGION, REGION), (OLD_ZONE, ZONE), (OLD_REGION, REGION)):
            if volume is not None and key in volume["metadata"]["labels"]:
                allowed = volume["metadata"]["labels"][key].split("__")
                if labels.get(key, labels.get(newer)) not in allowed:
                    return False
    return True
