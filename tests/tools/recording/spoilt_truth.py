"""What really was, spoilt: nodes, pods, tenants, and what is left in the end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object, encode
from ursa.proto.quantities import GPU_MILLI
from ursa.storage.snapshot import REVISIONS_FORWARD
from ursa.tools.recording.records import (
    Complete,
    Finished,
    Instance,
    Listed,
    Logged,
    Opened,
    Record,
    Write,
)

from .recorded_run import recorded_run
from .spoilt import breaks, changed, edited, last_of, of, truth, with_objects_edited


@breaks("No claim over-commits")
def a_node_has_less_than_is_placed_on_it() -> Iterable[Record]:
    def shrink(manifest: dict[str, Any]) -> None:
        manifest["status"]["allocatable"]["cpu"] = "50m"

    return with_objects_edited(truth(recorded_run()), lambda each: each.key.startswith("/registry/nodes/"), shrink)


@breaks("No claim over-commits")
def two_pods_hold_one_gpu_though_another_is_free() -> list[Record]:
    return shares_of_gpus(0, 0)


def shares_of_gpus(one: int, other: int) -> list[Record]:
    """Two pods that run on one node hold 600 thousandths each, of these two of its four GPUs."""
    records = truth(recorded_run())
    by_node: dict[tuple[str, str], list[Logged]] = {}
    for placement in last_of(records, "placements.ursa.dev"):
        node = Object(pb.Object.FromString(placement.data)).spec["node"]
        by_node.setdefault((placement.partition, node), []).append(placement)
    two = next(placements[:2] for placements in by_node.values() if len(placements) > 1)

    def has_gpus(manifest: dict[str, Any]) -> None:
        manifest["status"]["allocatable"][GPU_MILLI] = 4000

    is_node = lambda each: each.key.startswith("/registry/nodes/")  # noqa: E731
    records = list(with_objects_edited(records, is_node, has_gpus))
    for placement, device in zip(two, (one, other), strict=True):
        created = next(each for each in of(Logged, records) if each.data == placement.data)

        def hold(manifest: dict[str, Any], device: int = device) -> None:
            manifest["spec"]["requests"][GPU_MILLI] = 600
            manifest["spec"]["devices"] = [device]

        records = changed(records, created, edited(created, hold))
    return records


@breaks("Replicas")
def a_replicaset_gets_more_pods_than_it_asked_for() -> Iterable[Record]:
    def ask_for_less(manifest: dict[str, Any]) -> None:
        manifest["spec"]["replicas"] = 2

    def is_one(each: Logged) -> bool:
        return each.key.startswith("/registry/replicasets.apps/other/")

    return with_objects_edited(truth(recorded_run()), is_one, ask_for_less)


@breaks("Every placement accounted for")
def a_placement_is_left_over() -> list[Record]:
    records = truth(recorded_run(), healed=True)
    gone = next(each for each in of(Logged, records) if "/placements" in each.key and each.deleted)
    return changed(records, gone, gone._replace(deleted=False))


@breaks("Bound where placed", "Every placement accounted for")
def a_pod_runs_where_it_has_no_placement() -> list[Record]:
    records = truth(recorded_run(), healed=True)
    placement = last_of(records, "placements.ursa.dev")[0]

    def move(manifest: dict[str, Any]) -> None:
        manifest["spec"]["node"] = "elsewhere"

    return changed(records, placement, edited(placement, move))


@breaks("Tenants isolated")
def a_pod_belongs_to_another_tenants_replicaset() -> list[Record]:
    records = truth(recorded_run())
    pod = next(each for each in last_of(records, "pods") if each.key.startswith("/registry/pods/other/"))
    created = next(each for each in of(Logged, records) if (each.key, each.previous_revision) == (pod.key, 0))
    namespace = next(
        each
        for each in of(Logged, records)
        if each.key == "/registry/namespaces/system//kube-system" and each.partition == pod.partition
    )
    uid = pb.Object.FromString(namespace.data).metadata.uid

    def steal(manifest: dict[str, Any]) -> None:
        manifest["metadata"]["ownerReferences"][0]["uid"] = uid

    return changed(records, created, edited(created, steal))


@breaks("Listed", "Tenants isolated")
def a_tenant_is_shown_the_pods_of_another() -> list[Record]:
    listed = next(each for each in of(Listed, recorded_run()) if each.items and each.selection.tenant == "other")
    return changed(recorded_run(), listed, listed._replace(selection=listed.selection._replace(tenant="default")))


@breaks("Converged")
def a_pod_is_still_terminating() -> list[Record]:
    records = truth(recorded_run(), healed=True)
    deployment = last_of(records, "deployments.apps")[0]

    def end(manifest: dict[str, Any]) -> None:
        manifest["metadata"]["deletionTimestamp"] = "2026-11-30T00:00:00Z"

    return changed(records, deployment, edited(deployment, end))


@breaks("Converged")
def a_pod_never_runs() -> list[Record]:
    records = truth(recorded_run(), healed=True)
    pod = last_of(records, "pods")[0]

    def stop(manifest: dict[str, Any]) -> None:
        manifest["status"]["phase"] = "Pending"

    return changed(records, pod, edited(pod, stop))


@breaks("Converged")
def a_replicaset_is_not_observed() -> list[Record]:
    records = truth(recorded_run(), healed=True)
    replica_set = last_of(records, "replicasets.apps")[0]

    def forget(manifest: dict[str, Any]) -> None:
        manifest["status"]["observedGeneration"] = 0

    return changed(records, replica_set, edited(replica_set, forget))


@breaks("Converged", "Kubelets tell what is")
def a_pod_that_is_gone_still_runs() -> list[Record]:
    instance = next(each for each in of(Instance, recorded_run()) if not each.started)
    return changed(recorded_run(), instance)


@breaks("Converged", "Kubelets tell what is")
def a_pod_is_said_to_run_and_does_not() -> list[Record]:
    stopped = {each.uid for each in of(Instance, recorded_run()) if not each.started}
    instance = next(each for each in of(Instance, recorded_run()) if each.uid not in stopped)
    return changed(recorded_run(), instance)


@breaks("One instance")
def a_pod_runs_on_two_nodes() -> list[Record]:
    stopped = next(each for each in of(Instance, recorded_run()) if not each.started)
    start = next(each for each in of(Instance, recorded_run()) if each.uid == stopped.uid)
    second = start._replace(time=start.time + 0.001, node="another")
    return [*recorded_run(), second, second._replace(time=start.time + 0.002, started=False)]


@breaks("One instance")
def a_deleted_pod_is_started_beside_its_namesake() -> list[Record]:
    """As a kubelet would by a stale list: it had stopped the first itself, and had deleted it."""
    one, other = two_lives_of_a_name()
    again = Instance("kubelet#2", 4.0, "rp-1", "n-1", "tp-1", "one", POD, started=True)
    return [*one, *other, again, Finished(9.0)]


@breaks("Kubelets tell what is", "One instance")
def a_pod_is_started_before_its_namesake_has_stopped() -> list[Record]:
    one, other = two_lives_of_a_name()
    return [*(each for each in one if not (isinstance(each, Instance) and not each.started)), *other, Finished(9.0)]


@breaks("Kubelets tell what is")
def a_kubelet_says_that_a_pod_runs_before_it_does() -> list[Record]:
    stopped = {each.uid for each in of(Instance, recorded_run()) if not each.started}
    instance = next(each for each in of(Instance, recorded_run()) if each.uid not in stopped)
    return changed(recorded_run(), instance, instance._replace(time=instance.time + 1.0))


@breaks("Kubelets tell what is")
def a_kubelet_writes_to_a_pod_of_another_partitions_nodes() -> list[Record]:
    one, other = two_lives_of_a_name()
    spec = encode({"nodeName": "n-1", "resourcePartition": "rp-2"})
    message = pb.Object(metadata=pb.ObjectMeta(uid="one", request_id=b"delete"), spec=spec)
    return [*one[:-2], logged(2, POD, message, deleted=True, create=1), one[-1], *other, Finished(9.0)]


@breaks("The node that was meant")
def a_claim_lands_on_another_node_of_the_name() -> list[Record]:
    records = truth(recorded_run())
    placement = last_of(records, "placements.ursa.dev")[0]

    def mean_another(manifest: dict[str, Any]) -> None:
        manifest["spec"]["nodeUID"] = "of one that is gone"

    return changed(records, placement, edited(placement, mean_another))


@breaks("Told before it places")
def a_restored_partition_gives_away_room_in_which_a_pod_runs() -> list[Record]:
    return restored_and_placed(told=False)


def restored_and_placed(*, told: bool) -> list[Record]:
    """A pod runs on a node whose partition is set back to before its placement; then another one is placed there."""

    def placed(revision: int, uid: str, **more: object) -> Logged:
        spec = encode({"node": "n-1", "nodeUID": "n", "tenantPartition": "tp-1", "requests": {"pods": 1}, **more})
        message = pb.Object(metadata=pb.ObjectMeta(uid=f"placement-{uid}"), spec=spec)
        return logged(revision, f"/registry/placements.ursa.dev///{uid}", message)._replace(partition="rp-1")

    first = placed(1, "one")
    head = REVISIONS_FORWARD
    after = [placed(head + 1, "one", bound=True), placed(head + 2, "other")] if told else [placed(head + 1, "other")]
    after = [each._replace(incarnation="second", time=float(11 + number)) for number, each in enumerate(after)]
    return [
        logged(1, POD, pb.Object(metadata=pb.ObjectMeta(uid="one"))),
        Complete("tp-1", "main", "i", 0, 1),
        Opened("rp-1", "main", "i", 0, 0.0),
        first,
        Complete("rp-1", "main", "i", 0, 1),
        Instance("kubelet#1", 2.0, "rp-1", "n-1", "tp-1", "one", POD, started=True),
        Opened("rp-1", "main", "second", head, 10.0),
        *after,
        Complete("rp-1", "main", "second", head, after[-1].revision),
        Finished(20.0),
    ]


POD = "/registry/pods/t/n/p"


def logged(revision: int, key: str, message: pb.Object, *, deleted: bool = False, create: int = 0) -> Logged:
    message.metadata.resource_version = revision
    previous, create = (create, create) if create else (0, revision)
    data = message.SerializeToString(deterministic=True)
    return Logged("tp-1", "main", "i", revision, key, deleted, create, previous, data, float(revision))


def two_lives_of_a_name() -> tuple[list[Record], list[Record]]:
    """A pod that its kubelet stopped and deleted, and another of its name on another node."""
    one, other = (pb.Object(metadata=pb.ObjectMeta(uid=uid)) for uid in ("one", "other"))
    first: list[Record] = [
        logged(1, POD, one),
        Instance("kubelet#1", 1.5, "rp-1", "n-1", "tp-1", "one", POD, started=True),
        Instance("kubelet#1", 1.8, "rp-1", "n-1", "tp-1", "one", POD, started=False),
    ]
    one.metadata.request_id = b"delete"
    delete = Write("kubelet#1", "tp-1", 1.9, 2.1, "delete", "pods", POD, b"delete", store="main", incarnation="i")
    first += [logged(2, POD, one, deleted=True, create=1), delete._replace(revision=2)]
    second = Instance("kubelet#1", 3.5, "rp-1", "n-2", "tp-1", "other", POD, started=True)
    return first, [logged(3, POD, other), second, Complete("tp-1", "main", "i", 0, 3)]
