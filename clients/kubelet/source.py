"""The pods that tenant partitions have on one node, and which partition speaks for a pod that two of them have.

A pod is in two partitions while its tenant moves from one to the other, and its uid says that it is one pod. It belongs
to the partition that had it first, and what the other says of it is kept aside. When the first one has it no longer,
the pod belongs to the other; whatever runs of it runs on. What happens in which order, the two partitions do not tell:

    tp-1 has it    tp-2 has it    -> tp-1's; the copy in tp-2 is kept
    tp-1 forgets   tp-2 has it    -> tp-2's
    tp-1 forgets, and says to tp-2; tp-2 has not been heard of it -> it is asked, and until it answers the pod runs on
"""

from __future__ import annotations

from collections.abc import Iterator

from ...proto import ursa_pb2 as pb
from ...proto.objects import ObjectKey
from .pod import Pod


class Source:
    """The pods of one tenant partition on this node."""

    __slots__ = ("behind", "copies", "names", "pods", "view", "waiting")

    def __init__(self) -> None:
        self.pods: dict[str, Pod] = {}  # by uid
        self.names: dict[ObjectKey, str] = {}  # the uid that bears a name now
        self.view: dict[str, pb.Object] | None = None  # by uid, while a view is being taken
        self.copies: dict[str, pb.Object] = {}  # by uid, of pods that belong to another partition
        # by uid: for the room of pods that are being asked about, or while it is behind
        self.waiting: dict[str, pb.Object] = {}
        self.behind = False  # it tells of what was missed

    def add(self, pod: Pod) -> None:
        self.pods[pod.uid] = pod
        self.names[pod.key] = pod.uid

    def discard(self, pod: Pod) -> None:
        del self.pods[pod.uid]
        if self.names.get(pod.key) == pod.uid:
            del self.names[pod.key]


class Sources(dict[str, Source]):
    """By tenant partition."""

    def owner_of(self, uid: str, key: ObjectKey) -> Pod | None:
        """The pod of this uid and name, whichever partition it belongs to."""
        for source in self.values():
            pod = source.pods.get(uid)
            if pod is not None and pod.key == key:
                return pod
        return None

    def pods(self) -> Iterator[Pod]:
        for source in self.values():
            yield from source.pods.values()

    def take_waiting(self) -> list[tuple[str, pb.Object]]:
        """Pods that waited, each with its partition."""
        waiting = [(partition, message) for partition, source in self.items() for message in source.waiting.values()]
        for source in self.values():
            source.waiting.clear()
        return waiting

    def copies_of(self, uid: str) -> Iterator[tuple[str, pb.Object]]:
        """What partitions say of it that it does not belong to."""
        for partition, source in self.items():
            if (message := source.copies.get(uid)) is not None:
                yield partition, message

    def hand_over(self, pod: Pod, partition: str) -> None:
        """The pod belongs to this partition from now on, of which it knows nothing yet."""
        self[pod.partition].discard(pod)
        self[partition].copies.pop(pod.uid, None)
        pod.partition = partition
        pod.lost = False
        pod.acknowledged_revision = pod.foreign_revision = 0
        self[partition].add(pod)
