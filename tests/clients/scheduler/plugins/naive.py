"""What Kubernetes' documentation says of each plugin, for one node, in plain values: see the plugins for the pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from .cases import MB, PlainNode

Spec = Mapping[str, Any]
CORDON = {"key": "node.kubernetes.io/unschedulable", "value": "", "effect": "NoSchedule"}


def node_name(spec: Spec, node: PlainNode) -> bool:
    return spec.get("nodeName") in (None, node.name)


def node_ports(spec: Spec, node: PlainNode) -> bool:
    for container in spec["containers"]:
        for wanted in container.get("ports", []):
            for protocol, port, address in node.ports:
                own = wanted.get("hostIP", "0.0.0.0")
                overlap = address == own or "0.0.0.0" in (address, own)
                if (protocol, port) == (wanted["protocol"], wanted["hostPort"]) and overlap:
                    return False
    return True


def tolerates(toleration: Mapping[str, str], taint: Mapping[str, str]) -> bool:
    if "effect" in toleration and toleration["effect"] != taint["effect"]:
        return False
    if "key" not in toleration:
        return toleration["operator"] == "Exists"
    if toleration["key"] != taint["key"]:
        return False
    return toleration["operator"] == "Exists" or toleration.get("value", "") == taint["value"]


def node_unschedulable(spec: Spec, node: PlainNode) -> bool:
    return not node.unschedulable or any(tolerates(each, CORDON) for each in spec["tolerations"])


def taints_tolerated(spec: Spec, node: PlainNode) -> bool:
    hard = [taint for taint in node.taints if taint["effect"] != "PreferNoSchedule"]
    return all(any(tolerates(each, taint) for each in spec["tolerations"]) for taint in hard)


def taints_disliked(spec: Spec, node: PlainNode) -> int:
    soft = [taint for taint in node.taints if taint["effect"] == "PreferNoSchedule"]
    return sum(not any(tolerates(each, taint) for each in spec["tolerations"]) for taint in soft)


def expression_holds(expression: Mapping[str, Any], values: Mapping[str, str]) -> bool:
    has, value = expression["key"] in values, values.get(expression["key"], "")
    match expression["operator"]:
        case "In":
            return has and value in expression["values"]
        case "NotIn":
            return not has or value not in expression["values"]
        case "Exists":
            return has
        case "DoesNotExist":
            return not has
    try:
        number = int(value)
    except ValueError:
        return False
    limit = int(expression["values"][0])
    return number > limit if expression["operator"] == "Gt" else number < limit


def term_selects(term: Mapping[str, Any], node: PlainNode) -> bool:
    answers = [expression_holds(each, node.labels) for each in term.get("matchExpressions", [])]
    answers += [expression_holds(each, {"metadata.name": node.name}) for each in term.get("matchFields", [])]
    return bool(answers) and all(answers)


def _node_affinity(spec: Spec) -> Mapping[str, Any]:
    return spec.get("affinity", {}).get("nodeAffinity", {})  # type: ignore[no-any-return]


def required_affinity(spec: Spec, node: PlainNode) -> bool:
    if any(node.labels.get(key) != value for key, value in spec.get("nodeSelector", {}).items()):
        return False
    required = _node_affinity(spec).get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(term_selects(term, node) for term in required["nodeSelectorTerms"])


def preferred_affinity(spec: Spec, node: PlainNode) -> int:
    preferred = _node_affinity(spec).get("preferredDuringSchedulingIgnoredDuringExecution", [])
    return sum(each["weight"] for each in preferred if term_selects(each["preference"], node))


def images(spec: Spec, node: PlainNode, nodes: Sequence[PlainNode]) -> int:
    containers = [*spec.get("initContainers", []), *spec["containers"]]
    total = 0
    for container in containers:
        name = container["image"]
        if ":" not in name.split("/")[-1]:
            name += ":latest"
        sizes = [image["sizeBytes"] for image in node.images if name in image["names"]]
        having = sum(any(name in image["names"] for image in each.images) for each in nodes)
        total += sum(int(size * (having / len(nodes))) for size in sizes)
    least, most = 23 * MB, 1000 * MB * len(containers)
    return 100 * (min(max(total, least), most) - least) // (most - least)


def resources_fit(requests: Mapping[str, int], node: PlainNode, ignored: Sequence[str] = ()) -> bool:
    for resource, units in requests.items():
        if resource in ignored or resource.split("/")[0] in ignored or not units:
            continue
        if node.taken(resource) + units > node.allocatable.get(resource, 0):
            return False
    return True


NONZERO = {"cpu": 100, "memory": 200 * MB}


def resources_score(
    requests: Mapping[str, int], node: PlainNode, strategy: str, weights: Mapping[str, int], shape: Sequence[Any] = ()
) -> int:
    total = counted = 0
    for resource, weight in weights.items():
        least = NONZERO.get(resource, 0)
        own = requests.get(resource) or least
        if not own:
            continue
        has = node.allocatable.get(resource) or 1
        taken = own + sum(held.get(resource) or least for held in node.held) + least * _port_pods(node)
        if not node.allocatable.get(resource):
            taken = has
        taken = min(taken, has)
        if strategy == "LeastAllocated":
            score = (has - taken) * 100 // has
        elif strategy == "MostAllocated":
            score = taken * 100 // has
        else:
            score = on_lines(shape, taken * 100 // has)
            if not score:
                continue
        total, counted = total + weight * score, counted + weight
    if not counted:
        return 0
    return int(total / counted + 0.5) if strategy == "RequestedToCapacityRatio" else total // counted


def _port_pods(node: PlainNode) -> int:
    """A pod for each port: it requests nothing."""
    return len(node.ports)


def on_lines(shape: Sequence[tuple[int, int]], utilization: int) -> int:
    points = [(at, 10 * score) for at, score in shape]
    if utilization <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in pairwise(points):
        if utilization <= x1:
            return y0 + int((y1 - y0) * (utilization - x0) / (x1 - x0))
    return points[-1][1]


def balance(requests: Mapping[str, int], node: PlainNode, weights: Mapping[str, int]) -> int:
    shares = []
    for resource in weights:
        own = requests.get(resource, 0)
        if resource not in NONZERO and not own:
            continue
        has = node.allocatable.get(resource, 0)
        shares.append(min((node.taken(resource) + own) / has, 1.0) if has else 1.0)
    mean = sum(shares) / len(shares)
    if len(shares) == 2:
        deviation = abs((shares[0] - shares[1]) / 2)
    else:
        deviation = math.sqrt(sum((share - mean) ** 2 for share in shares) / len(shares))
    return int((1 - deviation) * 100)


def by_greatest(raw: Sequence[int], *, reverse: bool) -> list[int]:
    greatest = max(raw)
    if not greatest:
        return [100 if reverse else 0] * len(raw)
    scaled = [100 * each // greatest for each in raw]
    return [100 - each for each in scaled] if reverse else scaled
