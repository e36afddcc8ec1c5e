"""A pod's volumes, from its node's choice to its binding. No I/O.

    Reserve   what the pod takes with it is assumed: nobody else gets it
    PreBind   the volumes are given to their claims, and the claims to be provisioned for get the pod's node; the pod
              waits until the view shows all its claims bound, to volumes that can be used on its node
              somebody else was faster, or no volume can be made there: the node is given up, and another is looked for
    PostBind, Unreserve   what was assumed for it is assumed no more

As Kubernetes' SchedulerVolumeBinder, which both its plugin and this one stand on; but where that one's goroutine waits,
here the pod does, and is asked about again when news of volumes come (`pre_binds.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...proto import ursa_pb2 as pb
from ...proto.objects import ObjectKey
from ..volumes.reading import Claim, NodePlace, Volume
from ..volumes.writing import claim_volume, select_node
from .actions import ForVolumes
from .columns import NodeColumns
from .decisions import Decisions
from .framework.interface import Unresolvable
from .pending import PendingPod
from .pod_queue import PodQueue
from .pod_volumes import choose, read_pod_volumes
from .volume_candidates import can_be_used
from .volume_news import ASSUMED_NO_MORE
from .volumes import Taken


class _Progress:
    """Of a pod's claims: which have been written for, at which revision (0: no answer yet), and what went wrong."""

    __slots__ = ("problem", "written")

    def __init__(self) -> None:
        self.written: dict[ObjectKey, int] = {}
        self.problem = ""


class VolumeBinder:
    """`history`: of the home partition, as its pods were seen last. `news` is called when those that wait are to be
    asked again."""

    def __init__(
        self,
        home: str,
        nodes: NodeColumns,
        queue: PodQueue,
        decisions: Decisions,
        history: Callable[[], str],
        news: Callable[[], None],
    ) -> None:
        self._home, self._nodes, self._queue, self._decisions = home, nodes, queue, decisions
        self._history, self._news = history, news
        self.volumes = nodes.volumes
        self._progress: dict[str, _Progress] = {}
        # By claim, the pod that writes for it: pods may share one.
        self._writers: dict[ObjectKey, str] = {}

    def reserve(self, pod: PendingPod, slot: int) -> str:
        """Assume what the pod takes with it. Why it cannot; empty: it is assumed."""
        asked = read_pod_volumes(self.volumes, pod.shape)
        if isinstance(asked, Unresolvable):
            return asked.reason
        facts = self._nodes.facts[slot]
        if facts is None:
            return "its node is gone"
        taken = choose(asked, NodePlace(self._nodes.partitions[slot], self._nodes.names[slot]), facts.labels)
        if isinstance(taken, str):
            return taken
        self.volumes.assume(pod.uid, taken)
        self._progress[pod.uid] = _Progress()
        return ""

    def forget(self, pod: PendingPod) -> None:
        """The pod has its volumes, or does not go there after all."""
        progress = self._progress.pop(pod.uid, None)
        for claim in progress.written if progress is not None else ():
            if self._writers.get(claim) == pod.uid:
                del self._writers[claim]
                self._news()  # Others that wait for this claim may have to see to it now.
        if self.volumes.withdraw(pod.uid) is not None:
            self._queue.help(ASSUMED_NO_MORE)

    def answered(self, action: ForVolumes, result: pb.Result) -> None:
        progress = self._progress.get(action.pod.uid)
        if progress is None:
            return
        if result.HasField("error"):
            progress.problem = f"the volume of claim {action.claim.name}: {result.error.message}"
        else:
            progress.written[action.claim] = result.resource_version
        self._news()

    def bind(self, pod: PendingPod, slot: int) -> str | None:
        """Write what is still to be written. Why the pod cannot have its volumes there; empty: it has them; None: it
        waits for them."""
        if not self.volumes.complete:
            self.volumes.wanted = True
            return None
        progress, taken = self._progress.get(pod.uid), self.volumes.taken(pod.uid)
        if progress is None or taken is None:
            # An earlier process has chosen the node.
            problem = self.reserve(pod, slot)
            return problem or self.bind(pod, slot)
        if progress.problem:
            return progress.problem
        facts = self._nodes.facts[slot]
        answers = [self._given(claim, volume, progress) for claim, volume in taken.volumes]
        answers += [self._provisioned(claim, taken.place, progress) for claim in taken.provisioned]
        labels: Mapping[str, str] = {} if facts is None else facts.labels
        answers += [self._usable(name, pod, labels) for name in pod.template.claims]
        problem = next((answer for answer in answers if answer), "")
        if problem:
            return problem
        if None not in answers:
            return ""
        self._write(pod, taken, progress)
        return None

    # ------------------------------------------------------------------------------------------- how far each has got

    def _given(self, before: Claim, volume: Volume, progress: _Progress) -> str | None:
        claim = self.volumes.claim(before.key)
        if claim is None or claim.uid != before.uid:
            return f"claim {before.key.name} is gone"
        if claim.is_bound:
            return ""
        seen = self.volumes.volume(volume.key.tenant, volume.key.name)
        if seen is None:
            return f"volume {volume.key.name} is gone"
        if seen.claim is not None and not seen.is_for(claim):
            return f"volume {volume.key.name} has been given to claim {seen.claim.name}"
        return None

    def _provisioned(self, before: Claim, place: NodePlace, progress: _Progress) -> str | None:
        claim = self.volumes.seen_claim(before.key)
        if claim is None or claim.uid != before.uid:
            return f"claim {before.key.name} is gone"
        if claim.is_bound:
            return ""
        written = progress.written.get(before.key)
        if written and claim.resource_version >= written and claim.selected.node != place.node:
            return f"no volume could be made for claim {before.key.name} on node {place.node}"
        return None

    def _usable(self, name: str, pod: PendingPod, labels: Mapping[str, str]) -> str | None:
        """Of a claim that is bound by now, as it may be to another volume than was chosen."""
        claim = self.volumes.claim(ObjectKey(pod.object.tenant, pod.object.namespace, name))
        if claim is None:
            return f"claim {name} is gone"
        if not claim.is_bound:
            return None
        volume = self.volumes.volume(pod.object.tenant, claim.volume_name)
        if volume is None:
            return None
        if not can_be_used(self.volumes.terms(volume), pod.node, labels):
            return f"volume {volume.key.name} of claim {name} cannot be used on node {pod.node}"
        return ""

    def _write(self, pod: PendingPod, taken: Taken, progress: _Progress) -> None:
        for claim, volume in taken.volumes:
            seen = self.volumes.volume(volume.key.tenant, volume.key.name)
            if (
                claim.key not in self._writers
                and seen is not None
                and (seen.claim is None or seen.claim.uid != claim.uid)
            ):
                self._send(pod, claim, claim_volume(seen, claim, by_controller=seen.claim is None), progress)
        for before in taken.provisioned:
            now = self.volumes.seen_claim(before.key)
            if now is None or now.key in self._writers:
                continue
            if now.selected == taken.place:
                self._writers[now.key], progress.written[now.key] = pod.uid, now.resource_version
            else:
                self._send(pod, now, select_node(now, taken.place), progress)

    def _send(self, pod: PendingPod, claim: Claim, operation: pb.Operation, progress: _Progress) -> None:
        self._writers[claim.key], progress.written[claim.key] = pod.uid, 0
        self._decisions.volumes.append(ForVolumes(self._home, pod, claim.key, operation, self._history()))
