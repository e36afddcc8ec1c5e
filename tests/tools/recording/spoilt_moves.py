"""A run in which a tenant moves, and what would be wrong in one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import trio
import ursa
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import decode, encode
from ursa.proto.tenants import TENANTS
from ursa.tools.determinism import seeded_run
from ursa.tools.recording import Recorder
from ursa.tools.recording.records import Logged, Record

from .recorded_run import NODES, workload
from .spoilt import breaks, changed, of, truth

TENANT = f"/registry/{TENANTS}///other"


@cache
def moved_run() -> tuple[Record, ...]:
    recorder = Recorder()

    async def main() -> None:
        async with ursa.Cluster(
            tenant_partitions=2, resource_partitions=2, nodes=NODES, processes=False, seed=1, recorder=recorder
        ) as cluster:
            await cluster.create_tenant("other", "tp-1")
            await cluster.apply(workload("ReplicaSet", "other", 3))
            await cluster.wait_for_pods(3)
            await cluster.move_tenant("other", "tp-2")
            await trio.sleep(30)
        recorder.finish(healed=True)

    seeded_run(1, main)
    return tuple(recorder.records)


def in_log(partition: str, what: Callable[[Logged, pb.Object], bool]) -> list[Logged]:
    return [
        each
        for each in of(Logged, moved_run())
        if each.partition == partition and what(each, pb.Object.FromString(each.data))
    ]


def with_message(records: list[Record], logged: Logged, change: Callable[[pb.Object], None]) -> list[Record]:
    message = pb.Object.FromString(logged.data)
    change(message)
    return changed(records, logged, logged._replace(data=message.SerializeToString(deterministic=True)))


def says(state: str) -> Callable[[Logged, pb.Object], bool]:
    return lambda each, message: each.key == TENANT and decode(message.spec or b"\x80").get("state") == state


@breaks("Tenants live in one partition")
def a_tenant_is_active_in_two_partitions() -> list[Record]:
    """It says that it is Active where it has left."""
    [left] = in_log("tp-1", says("Left"))

    def active(message: pb.Object) -> None:
        message.spec = encode({**decode(message.spec), "state": "Active"})

    return with_message(truth(moved_run()), left, active)


@breaks("Tenants live in one partition")
def something_comes_otherwise_than_it_was() -> list[Record]:
    pod = in_log("tp-2", lambda _, message: message.kind == "Pod")[0]

    def spoil(message: pb.Object) -> None:
        message.metadata.labels["more"] = "than there was"

    return with_message(truth(moved_run()), pod, spoil)


@breaks("Tenants live in one partition")
def something_does_not_come() -> list[Record]:
    [namespace] = in_log("tp-2", lambda each, _: each.key == "/registry/namespaces/other//default")
    return changed(truth(moved_run()), namespace, namespace._replace(key="/registry/namespaces/other//another"))


@breaks("Tenants live in one partition")
def a_pod_that_ran_says_that_it_began_anew() -> list[Record]:
    """In the target's log, where it says so later."""
    records = truth(moved_run())
    [opened] = in_log("tp-2", says("Active"))
    pod = in_log("tp-2", lambda _, message: message.kind == "Pod")[0]
    last = max(each.revision for each in of(Logged, records) if (each.partition, each.store) == ("tp-2", "main"))
    message = pb.Object.FromString(pod.data)
    message.status = encode({**decode(message.status), "startTime": "2001-01-01T00:00:00Z"})
    message.metadata.resource_version = last + 1
    later = pod._replace(
        revision=last + 1, previous_revision=pod.revision, data=message.SerializeToString(deterministic=True)
    )
    assert opened.revision < last
    at = next(number for number, each in enumerate(records) if not isinstance(each, Logged))
    return [*records[:at], later, *records[at:]]
