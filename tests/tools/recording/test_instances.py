"""Where two instances of one pod are nobody's fault: its partition was set back, and has it on another node."""

from __future__ import annotations

from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import encode
from ursa.tools.checking.check import check
from ursa.tools.checking.instances import INSTANCES, no_two_instances
from ursa.tools.recording.records import Complete, Finished, Instance, Opened, Record

from .spoilt_truth import POD, logged


def history(incarnation: str, opened: float, *nodes: str) -> list[Record]:
    """Of a partition that has the pod on these nodes, one after the other."""
    records: list[Record] = [Opened("tp-1", "main", incarnation, 0, opened)]
    for revision, node in enumerate(nodes, start=1):
        metadata = pb.ObjectMeta(tenant="t", namespace="n", name="p", uid="one")
        spec = encode({"nodeName": node, "resourcePartition": "rp-1"})
        records.append(logged(revision, POD, pb.Object(metadata=metadata, spec=spec))._replace(incarnation=incarnation))
    return [*records, Complete("tp-1", "main", incarnation, 0, len(nodes))]


def starts(node: str, time: float) -> Instance:
    return Instance(f"kubelet-{node}#1", time, "rp-1", node, "tp-1", "one", POD, started=True)


def promises(*records: Record) -> list[str]:
    return [violation.promise for violation in check([*records, Finished(99.0)], [no_two_instances])]


FIRST = [*history("first", 0.0, "n-1"), starts("n-1", 5.0)]


def test_a_pod_that_its_partition_has_on_another_node_since_it_was_set_back_may_start_there_before_it_is_stopped() -> (
    None
):
    assert promises(*FIRST, *history("second", 10.0, "n-2"), starts("n-2", 11.0)) == []


def test_a_kubelet_that_starts_what_its_partition_has_elsewhere_is_wrong_also_if_that_was_set_back() -> None:
    assert promises(*FIRST, *history("second", 10.0, "n-1"), starts("n-2", 11.0)) == [INSTANCES]
    assert promises(*FIRST, *history("second", 10.0), starts("n-2", 11.0)) == [INSTANCES]


def test_a_pod_that_was_started_in_the_very_history_has_no_excuse() -> None:
    set_back = [*history("first", 0.0, "n-1"), *history("second", 10.0, "n-2")]
    assert promises(*set_back, starts("n-1", 10.5), starts("n-2", 11.0)) == [INSTANCES]
    assert promises(*FIRST, *history("second", 20.0, "n-2"), starts("n-2", 11.0)) == [INSTANCES]


def test_a_partition_that_has_the_pod_on_both_nodes_in_one_history_has_no_excuse() -> None:
    assert promises(*FIRST, *history("second", 10.0, "n-1", "n-2"), starts("n-2", 11.0)) == [INSTANCES]
