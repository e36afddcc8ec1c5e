"""The first step: claim the chosen node at its resource partition, and what becomes of the claim. No I/O.

See `binder.py` for what holds whatever happens.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...proto import ursa_pb2 as pb
from ...proto.devices import HeldDevices
from ...proto.errors import AlreadyExists, Conflict, NotFound
from ...proto.objects import encode
from ..placements import placement_spec
from ..revisions import Revision
from .actions import Claim
from .bindings import Bindings
from .columns import NodeColumns
from .framework.calls import asked
from .hints import ROOM_MADE
from .options import SchedulerOptions
from .partition_view import PartitionView
from .pending import PendingPod, PodState
from .plugins.gpu_share import DeviceChoice
from .pod_queue import PodQueue
from .repeats import ASK_AGAIN, MAYBE_DONE, Repeats


class Claims:
    """`bindings` goes on with those that hold, and with the pods of those that do not. `device_choices`: by the name
    that pods give."""

    def __init__(
        self,
        home: str,
        nodes: NodeColumns,
        views: Mapping[str, PartitionView],
        queue: PodQueue,
        options: SchedulerOptions,
        device_choices: Mapping[str, DeviceChoice],
        bindings: Bindings,
        repeats: Repeats,
    ) -> None:
        self._home, self._nodes, self._views, self._queue, self._options = home, nodes, views, queue, options
        self._device_choices, self._bindings, self._repeats = device_choices, bindings, repeats

    def claim(self, pod: PendingPod, slot: int, now: float) -> bool:
        """Claim the node in this slot for a pod taken out of the queue. False: no devices of the node would do for it,
        or a plugin does not want it there, and it is back there.

        Raises:
            PluginError: the one that chooses its devices has failed, and nothing is claimed.
        """
        devices: HeldDevices | None = None
        if pod.template.devices.amount:
            devices = self._choose_devices(pod, slot)
            if not devices.numbers:
                # All its GPUs together have the room, none of them alone: Filter did not ask for that.
                self._nodes.refuse(slot, pod.template.id)
                self._queue.push(pod)
                return False
        nodes = self._nodes
        problem = self._bindings.hooks.reserve(pod, slot)
        if problem:
            self._bindings.cannot_decide(pod, problem, now)
            return False
        facts = nodes.facts[slot]
        assert facts is not None, "a slot without a node was picked"
        view = self._views[nodes.partitions[slot]]
        pod.attempts += 1
        pod.slot, pod.partition, pod.node, pod.node_uid = slot, view.partition, nodes.names[slot], facts.uid
        pod.devices = () if devices is None else devices.numbers
        pod.view_at_claim = nodes.external[slot]
        template = pod.template
        pod.generation, pod.claimed_in = pod.object.generation, self._bindings.history
        placement = placement_spec(
            pod.node,
            pod.node_uid,
            self._home,
            pod.object.key,
            pod.uid,
            template.requests,
            history=pod.claimed_in,
            host_ports=template.host_ports,
            devices=pod.devices,
        )
        spec = encode(placement)
        charges = template.charges
        if charges is None:
            charges = template.charges = nodes.charges(template.requests)
        nodes.pods.assume(pod)
        view.ledger.assume(pod.uid, slot, charges, spec, template.host_ports, devices)
        self.send(Claim(pod, spec))
        return True

    def _choose_devices(self, pod: PendingPod, slot: int) -> HeldDevices:
        """Of no numbers: none that would do."""
        choice = self._device_choices[pod.template.scheduler_name]
        numbers = asked(choice.name, choice.choose_devices, pod.shape, self._nodes, slot)
        return HeldDevices(tuple(numbers), pod.template.devices)

    def send(self, claim: Claim) -> None:
        pod = claim.pod
        pod.state, pod.action = PodState.CLAIMING, claim
        self._views[claim.partition].outstanding += 1
        self._bindings.decisions.for_partition(claim.partition).append(claim)

    # ------------------------------------------------------------------------------------------------- answers

    def unanswered(self, claim: Claim, now: float) -> None:
        pod, view = claim.pod, self._views[claim.partition]
        view.outstanding -= 1
        hold = view.ledger.observed.get(pod.uid)
        if not claim.in_doubt:
            # Nothing was ever asked of the partition: the pod is free to go elsewhere.
            view.ledger.withdraw(pod.uid)
            self._queue.help(ROOM_MADE, pod.slot)
            self._bindings.requeue(pod)
        elif hold is not None and hold.slot == pod.slot:
            self._bindings.found_accepted(pod, hold)
        else:
            self._repeats.later(claim, now)

    def answered(self, claim: Claim, result: pb.Result, now: float) -> None:
        pod, view = claim.pod, self._views[claim.partition]
        view.outstanding -= 1
        if not result.HasField("error"):
            self._bindings.counts.accepted += 1
            view.ledger.accept(pod.uid, Revision(view.partition, result.resource_version))
            pod.claim_revision = result.resource_version
            self._bindings.permits.claimed(pod, result.uid)
            return
        error, hold = result.error, view.ledger.observed.get(pod.uid)
        if error.reason in ASK_AGAIN:
            claim.in_doubt = claim.in_doubt or error.reason in MAYBE_DONE
            self._repeats.later(claim, now, error)
            return
        self._bindings.counts.rejected += 1
        view.ledger.withdraw(pod.uid)
        self._queue.help(ROOM_MADE, pod.slot)  # Others may have been parked because of it.
        if pod.gone:
            self._bindings.forget(pod)
        elif error.reason in (Conflict.reason, NotFound.reason):
            self._refused(pod, error.reason, now)
        elif error.reason == AlreadyExists.reason and hold is not None and hold.home:
            self._bindings.take_over(pod, view, hold)
        else:
            # AlreadyExists: its Placement on another node has not been seen yet, but will be; or its tenant is moving,
            # and the scheduler of the other partition has claimed a node for it, which is not ours to give up.
            self._bindings.complain(pod, f"node {pod.node} of {pod.partition} refused the pod: {error.message}", now)
            self._bindings.back_off(pod, now)

    def _refused(self, pod: PendingPod, reason: str, now: float) -> None:
        """No room, or no such node: what this scheduler knows of the node is out of date."""
        nodes, slot = self._nodes, pod.slot
        facts = nodes.facts[slot] if nodes.find(pod.partition, pod.node) == slot else None
        if facts is not None and facts.uid == pod.node_uid and nodes.external[slot] == pod.view_at_claim:
            # No news of the node has come since it was picked: it would be picked again.
            if reason == Conflict.reason:
                nodes.refuse(slot, pod.template.id)
            else:
                nodes.clear_node(slot)
        pod.conflicts += 1
        if pod.conflicts > self._options.conflicts_max:
            pod.conflicts = 0
            self._bindings.back_off(pod, now)
        else:
            self._bindings.requeue(pod)
