"""When a node may lose its pods: it was silent, by the log, while another one was not."""

from __future__ import annotations

from collections.abc import Sequence

from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import encode
from ursa.tools.checking.check import check
from ursa.tools.checking.evictions import EVICTIONS, GRACE_SECONDS, LEASES_PREFIX, losing_sight_evicts_nothing
from ursa.tools.recording.records import Complete, Finished, Record, Write

from .spoilt_truth import POD, logged

# The delete is carried out; what was decided may be this much older.
DELETED = 500.0


def of_nodes(**renewed: Sequence[float]) -> list[Record]:
    """A resource partition whose nodes were renewed at these times."""
    times = sorted((time, node) for node, of_node in renewed.items() for time in of_node)
    records: list[Record] = []
    for revision, node in enumerate(renewed, start=1):
        records.append(logged(revision, f"/registry/nodes///{node}", pb.Object(metadata=pb.ObjectMeta(uid=node))))
    for revision, (time, node) in enumerate(times, start=10):
        lease = logged(revision, LEASES_PREFIX + node, pb.Object(metadata=pb.ObjectMeta(uid=f"lease-{node}")))
        records.append(lease._replace(time=time))
    records = [each._replace(partition="rp-1") for each in records]
    return [*records, Complete("rp-1", "main", "i", 0, 99)]


def deleted(client: str = "controller-manager-rp-1#1", home: str = "rp-1") -> list[Record]:
    spec = encode({"nodeName": "a", "resourcePartition": home})
    message = pb.Object(metadata=pb.ObjectMeta(uid="p", request_id=b"made"), spec=spec)
    made = logged(1, POD, message)
    message.metadata.request_id = b"delete"
    message.metadata.deletion_ms = 1
    gone = logged(2, POD, message, create=1)._replace(time=DELETED)
    write = Write(client, "tp-1", DELETED - 1, DELETED, "delete", "pods", POD, b"delete", store="main", incarnation="i")
    return [made, gone, write, Complete("tp-1", "main", "i", 0, 2)]


def promises(*parts: Sequence[Record]) -> list[str]:
    records = [each for part in parts for each in part]
    return [found.promise for found in check([*records, Finished(999.0)], [losing_sight_evicts_nothing])]


ALIVE = [*range(0, 600, 10)]


def test_a_node_that_was_silent_while_another_one_was_not_may_lose_its_pods() -> None:
    assert promises(of_nodes(a=[10], b=ALIVE), deleted()) == []


def test_a_node_whose_lease_was_renewed_all_the_time_may_not() -> None:
    assert promises(of_nodes(a=ALIVE, b=ALIVE), deleted()) == [EVICTIONS]


def test_where_all_nodes_are_silent_none_loses_its_pods() -> None:
    assert promises(of_nodes(a=[10], b=[10]), deleted()) == [EVICTIONS]
    assert promises(of_nodes(a=[10]), deleted()) == [EVICTIONS]


def test_a_node_that_spoke_again_just_now_may_have_been_silent_when_it_was_decided() -> None:
    assert promises(of_nodes(a=[10, DELETED - 59], b=ALIVE), deleted()) == []
    spoke_before = [DELETED - 62 - GRACE_SECONDS, DELETED - 61, DELETED - 30]
    assert promises(of_nodes(a=spoke_before, b=ALIVE), deleted()) == [EVICTIONS]


def test_a_controller_drives_nothing_off_the_nodes_of_another_partition() -> None:
    assert promises(of_nodes(a=[10], b=ALIVE), deleted(home="rp-2")) == [EVICTIONS]


def test_what_users_and_controllers_of_tenants_delete_is_not_judged() -> None:
    assert promises(of_nodes(a=ALIVE, b=ALIVE), deleted("user#1")) == []
    assert promises(of_nodes(a=ALIVE, b=ALIVE), deleted("controller-manager-tp-1#1")) == []
