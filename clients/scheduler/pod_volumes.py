"""What the claims of a pod ask of its node: read once for all nodes, then answered for one or for all. Pure functions.

    bound claims          the node must be where their volumes can be used
    claims that wait      a volume that will do must be usable there, or their class must be able to make one there;
                          a claim for which a node has been chosen already goes with that node
    other unbound claims  the pod waits until the controller has bound them

Claims that wait are given volumes one after the other, those that ask for least first, each the smallest that is left:
as Kubernetes does it, and so not always as it could be done best.
https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...proto.objects import ObjectKey
from ...proto.volumes import LOST, NO_PROVISIONER
from ..volumes.reading import Claim, NodePlace, StorageClass, Volume, allowed_by
from .columns import NodeColumns
from .framework.interface import Bools, Slots, Unresolvable
from .framework.shape import Shape
from .node_selectors import Term
from .volume_candidates import Candidates, can_be_used, has_value, terms_mask
from .volumes import Taken, Volumes

NO_VOLUMES: Final = "node(s) didn't find available persistent volumes to bind"
ELSEWHERE: Final = "node(s) didn't match PersistentVolume's node affinity"
MISSING: Final = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
UNBOUND: Final = "pod has unbound immediate PersistentVolumeClaims"
NOT_SEEN: Final = "its PersistentVolumeClaims have not been seen yet"


class PodVolumes(NamedTuple):
    """`bound`: where the volumes of bound claims can be used. `missing`: such a volume is not there. `selected`: claims
    with a node of their own, and their classes. `to_find`: for each claim its candidates, in the order of size, and the
    class that makes a volume where there is none."""

    bound: tuple[tuple[Term, ...], ...]
    missing: bool
    selected: tuple[tuple[Claim, StorageClass], ...]
    to_find: tuple[tuple[Candidates, StorageClass], ...]


def read_pod_volumes(volumes: Volumes, pod: Shape) -> PodVolumes | Unresolvable:
    """Of a pod that has claims."""
    if not volumes.complete:
        return Unresolvable(NOT_SEEN)
    bound: list[tuple[Term, ...]] = []
    missing, immediate = False, False
    waiting: list[tuple[Claim, StorageClass]] = []
    for name in pod.template.claims:
        claim = volumes.claim(ObjectKey(pod.tenant, pod.namespace, name))
        problem = _problem(name, claim)
        if claim is None or problem:
            return Unresolvable(problem)
        if claim.is_bound:
            volume = volumes.volume(pod.tenant, claim.volume_name)
            missing = missing or volume is None
            terms = None if volume is None else volumes.terms(volume)
            if terms is not None:
                bound.append(terms)
            continue
        of = volumes.classes.get(claim.class_name or "")
        if of is None or not of.waits or claim.volume_name:
            immediate = True
        else:
            waiting.append((claim, of))
    if immediate:
        return Unresolvable(UNBOUND)
    selected = tuple(each for each in waiting if each[0].selected.node)
    to_find = [
        (Candidates(claim, volumes), of)
        for claim, of in sorted(waiting, key=lambda each: each[0].size)
        if not claim.selected.node
    ]
    return PodVolumes(tuple(dict.fromkeys(bound)), missing, selected, tuple(to_find))


def _problem(name: str, claim: Claim | None) -> str:
    if claim is None:
        return f'persistentvolumeclaim "{name}" not found'
    if claim.deleting:
        return f'persistentvolumeclaim "{name}" is being deleted'
    if claim.phase == LOST:
        return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim.volume_name}"'
    return ""


# ----------------------------------------------------------------------------------------------------------- one node


def choose(asked: PodVolumes, place: NodePlace, labels: Mapping[str, str]) -> Taken | str:
    """What the pod takes with it to a node; or why it cannot go there."""
    if asked.missing:
        return MISSING
    if not all(can_be_used(terms, place.node, labels) for terms in asked.bound):
        return ELSEWHERE
    if not all(_is_selected(claim, place) and _makes(of, labels) for claim, of in asked.selected):
        return NO_VOLUMES
    taken: list[tuple[Claim, Volume]] = []
    provisioned = [claim for claim, _ in asked.selected]
    for candidates, of in asked.to_find:
        volume = candidates.best(place.node, labels, [each for _, each in taken])
        if volume is not None:
            taken.append((candidates.claim, volume))
        elif candidates.named is None and _makes(of, labels):
            provisioned.append(candidates.claim)
        else:
            return NO_VOLUMES
    return Taken(tuple(taken), tuple(provisioned), place)


def _is_selected(claim: Claim, place: NodePlace) -> bool:
    """Somebody else's tools may have named the node and no partition."""
    return claim.selected.node == place.node and claim.selected.partition in ("", place.partition)


def _makes(of: StorageClass, labels: Mapping[str, str]) -> bool:
    """Whether the class can have a volume made on a node with these labels."""
    return of.provisioner != NO_PROVISIONER and allowed_by(of.topologies, labels)


# ----------------------------------------------------------------------------------------------------------- all nodes


def usable(asked: PodVolumes, nodes: NodeColumns, slots: Slots) -> Bools:
    """Where the volumes of bound claims can be used."""
    fits = nodes.present[slots] & (not asked.missing)
    for terms in asked.bound:
        fits &= terms_mask(terms, nodes, slots)
    return fits


def found(asked: PodVolumes, nodes: NodeColumns, slots: Slots) -> Bools:
    """Where the claims that wait can have volumes."""
    fits = nodes.present[slots].copy()
    for claim, of in asked.selected:
        there = np.zeros(nodes.capacity, np.bool_)
        for slot in nodes.slots_named(claim.selected.node):
            there[slot] = claim.selected.partition in ("", nodes.partitions[slot])
        fits &= there[slots] & _making(of, nodes, slots)
    if len(asked.to_find) == 1:
        [(candidates, of)] = asked.to_find
        fits &= candidates.mask(nodes, slots) | (_making(of, nodes, slots) & (candidates.named is None))
    elif asked.to_find:
        fits &= _found_together(asked, nodes, slots)
    return fits


def _making(of: StorageClass, nodes: NodeColumns, slots: Slots) -> Bools:
    """`_makes`, of many nodes."""
    everywhere = np.ones(len(nodes.present[slots]), np.bool_)
    if of.provisioner == NO_PROVISIONER:
        return ~everywhere
    if not of.topologies:
        return everywhere
    somewhere = ~everywhere
    for topology in of.topologies:
        here = everywhere.copy()
        for key, values in topology:
            here &= has_value(key, values, nodes, slots)
        somewhere |= here
    return somewhere


def _found_together(asked: PodVolumes, nodes: NodeColumns, slots: Slots) -> Bools:
    """Claims of one pod must not get the same volume. Nodes that are alike in all that the volumes look at are asked
    about as one."""
    alike = _alike(asked, nodes, slots)
    _, first, places = np.unique(alike, return_index=True, return_inverse=True)
    numbers = np.arange(nodes.high)[slots]
    answers = np.zeros(len(first), np.bool_)
    only_found = asked._replace(bound=(), missing=False, selected=())
    for at, slot in enumerate(numbers[first].tolist()):
        facts = nodes.facts[slot]
        if facts is not None:
            place = NodePlace(nodes.partitions[slot], nodes.names[slot])
            answers[at] = isinstance(choose(only_found, place, facts.labels), Taken)
    return answers[places.reshape(-1)]


def _alike(asked: PodVolumes, nodes: NodeColumns, slots: Slots) -> NDArray[np.int64]:
    """A number for each node; the same where the nodes are alike."""
    numbers = nodes.present[slots].astype(np.int64)
    keys: dict[str, None] = {}
    terms: dict[tuple[Term, ...], None] = {}
    for candidates, of in asked.to_find:
        keys.update(dict.fromkeys(candidates.keys))
        keys.update({key: None for topology in of.topologies for key, _ in topology})
        terms.update(dict.fromkeys(candidates.terms))
    for key in keys:
        numbers = _refined(numbers, nodes.labels.ids(key, nodes.capacity)[0][slots])
    for each in terms:
        numbers = _refined(numbers, terms_mask(each, nodes, slots))
    return numbers


def _refined(numbers: NDArray[np.int64], by: NDArray[np.int32] | Bools) -> NDArray[np.int64]:
    """Told apart by one thing more. The numbers stay small, so that they never overflow."""
    _, compact = np.unique(numbers, return_inverse=True)
    return compact.reshape(-1) * (int(by.max(initial=0)) + 1) + by
