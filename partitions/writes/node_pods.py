"""The room that a resource partition's own pods take: their Placement is written with them, in one step.

A tenant's pod lives in another partition than the placement that holds its room, so it takes a claim, a bind and a
controller that releases. Here both are in one store:

    create a pod on n1    -> the ledger has room: the pod and its placement; it has not: Conflict, and nothing
                             of GPUs the ledger chooses, and both say which
    the pod has ended, or is gone        -> its placement goes in the same write
    delete the placement of one that lives -> Forbidden: it goes with its pod

So a pod is never without its placement, also when the partition is set back; and schedulers see what is taken as they
see what other schedulers take. A mirror of a pod that its kubelet runs anyway is a fact, and no claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ...proto import ursa_pb2 as pb
from ...proto.devices import DEVICES_ANNOTATION, written_devices
from ...proto.errors import Forbidden, NotFound
from ...proto.host_ports import read_host_ports
from ...proto.kinds import BY_KIND
from ...proto.objects import decode_shared, encode
from ...proto.quantities import CPU, MEMORY, PODS
from ..admission import Ledger, Strategy
from ..admission.node_pods import MIRROR_ANNOTATION
from ..admission.pods import FINISHED_PHASES
from ..admission.usage import LIMITS, REQUESTS, charge_of
from ..entries import Entry
from .plans import Plan, Write, plan_create

_POD, _NODE, _PLACEMENT = BY_KIND["Pod"], BY_KIND["Node"], BY_KIND["Placement"]


class NodePods:
    """Of the resource partition `partition`. `latest` is its newest state, by key."""

    def __init__(
        self,
        partition: str,
        latest: Mapping[str, Entry],
        ledger: Ledger,
        strategy: Strategy,
        new_uid: Callable[[], str],
    ) -> None:
        self._partition = partition
        self._latest = latest
        self._ledger = ledger
        self._strategy = strategy  # Of placements.
        self._new_uid = new_uid

    def accounted(self, plan: Plan, now_ms: int) -> Plan:
        """The plan, with what becomes of placements by it.

        Raises:
            NotFound: there is no such node. Conflict: it has no room. Forbidden: a placement goes with its pod only.
        """
        more = [extra for write in plan.writes for extra in self._with(write, now_ms)]
        return plan._replace(writes=(*plan.writes, *more)) if more else plan

    def _with(self, write: Write, now_ms: int) -> Iterator[Write]:
        if write.kind is _PLACEMENT and write.deleted:
            self._check_release(write.message)
        elif write.kind is _POD:
            placement = self._latest.get(_key_of(write.message.metadata.uid))
            ended = write.deleted or _has_ended(write.message)
            if write.old is None:
                yield self._placed(write.message, now_ms)
            elif ended and placement is not None:
                yield Write(_PLACEMENT, placement.key, placement.message(), placement, deleted=True, reserve=True)

    def _placed(self, pod: pb.Object, now_ms: int) -> Write:
        metadata, node = pod.metadata, decode_shared(pod.spec)["nodeName"]
        entry = self._latest.get(_NODE.key("", "", node))
        if entry is None:
            raise NotFound(f"node {node!r}: there is no such node", key=f"nodes///{node}")
        spec = {
            "node": node,
            "nodeUID": entry.uid,
            "tenantPartition": self._partition,
            "pod": {
                "tenant": metadata.tenant,
                "namespace": metadata.namespace,
                "name": metadata.name,
                "uid": metadata.uid,
            },
            "requests": _requests(pod.spec),
        }
        if ports := read_host_ports(decode_shared(pod.spec)):
            spec["hostPorts"] = [port.written() for port in ports]
        if MIRROR_ANNOTATION in metadata.annotations:
            spec["bound"] = True
        if devices := self._ledger.choose_devices(node, spec["requests"]):
            spec["devices"] = list(devices)
            metadata.annotations[DEVICES_ANNOTATION] = written_devices(devices)
        message = pb.Object(api_version=_PLACEMENT.api_version, kind=_PLACEMENT.kind, spec=encode(spec))
        message.metadata.name = metadata.uid
        self._ledger.admit(message)
        key = _key_of(metadata.uid)
        plan = plan_create(_PLACEMENT, self._strategy, key, message, None, uid=self._new_uid(), now_ms=now_ms)
        return plan.writes[0]._replace(reserve=True)

    def _check_release(self, placement: pb.Object) -> None:
        spec = decode_shared(placement.spec)
        if spec.get("tenantPartition") != self._partition:
            return
        pod = spec["pod"]
        entry = self._latest.get(_POD.key(pod["tenant"], pod["namespace"], pod["name"]))
        if entry is not None and entry.uid == pod["uid"] and not _has_ended(entry.message()):
            raise Forbidden(f"{entry.key} holds this placement, which goes with it: delete the pod", key=entry.key)


def _key_of(pod_uid: str) -> str:
    return _PLACEMENT.key("", "", pod_uid)


def _has_ended(pod: pb.Object) -> bool:
    return decode_shared(pod.status).get("phase") in FINISHED_PHASES


def _requests(spec: bytes) -> dict[str, int]:
    """As schedulers claim: cpu and memory are always there, other resources if more than 0."""
    units = charge_of(spec).units
    total = {name: amount for name, amount in units.items() if not name.startswith((REQUESTS, LIMITS))}
    own = {CPU: total.pop(CPU, 0), MEMORY: total.pop(MEMORY, 0), PODS: total.pop(PODS)}
    return own | {name: amount for name, amount in sorted(total.items()) if amount}
