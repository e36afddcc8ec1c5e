"""A Lease that changes hands, and what its holders write: the material of the judges of leaders."""

from __future__ import annotations

from collections.abc import Sequence

from ursa.proto import ursa_pb2 as pb
from ursa.proto.leases import LEASES
from ursa.proto.objects import encode
from ursa.tools.recording.records import Complete, Fence, Finished, Logged, Record, Write

from .spoilt_truth import logged

LEASE = f"/registry/{LEASES}/system/kube-system/controller-manager-tp-1"


def granted(revision: int, holder: str, term: int, *, uid: str = "lease", after: int = 0) -> Logged:
    """`after`: the revision of the lease before, which was made at 1. 0: it is made."""
    message = pb.Object(metadata=pb.ObjectMeta(uid=uid))
    message.spec = encode({"holderIdentity": holder, "leaseTransitions": term, "leaseDurationSeconds": 15})
    made = logged(revision, LEASE, message)
    return made._replace(create_revision=1, previous_revision=after) if after else made


def written(revision: int, holder: str, term: int, *, uid: str = "lease", time: float = 0.0) -> list[Record]:
    """A ConfigMap that was made in this term."""
    name = f"a-{revision}"
    key, request_id = f"/registry/configmaps/t/n/{name}", name.encode()
    made = logged(revision, key, pb.Object(metadata=pb.ObjectMeta(uid=name, request_id=request_id)))
    fence: Fence = (LEASE, uid, term, holder)
    call = time or revision - 0.5
    write = Write(f"{holder}#1", "tp-1", call, revision + 0.1, "create", "configmaps", key, request_id, store="main")
    return [made, write._replace(incarnation="i", revision=revision, uid=name, fence=fence)]


def led(*parts: Sequence[Record] | Record) -> list[Record]:
    records = [each for part in parts for each in ([part] if isinstance(part, Logged) else part)]
    last = max(each.revision for each in records if isinstance(each, Logged))
    return [*records, Complete("tp-1", "main", "i", 0, last), Finished(100.0)]


def led_well() -> list[Record]:
    """One leads, is silent, and another takes over; a renewal, and the first takes over again."""
    return led(
        granted(1, "one", 1),
        written(2, "one", 1),
        granted(3, "one", 1, after=1),
        written(4, "one", 1),
        granted(5, "two", 2, after=3),
        written(6, "two", 2),
        granted(7, "", 2, after=5),
        granted(8, "one", 3, after=7),
        written(9, "one", 3),
    )
