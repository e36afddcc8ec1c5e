"""A resource partition that was set back takes no claim on a node before it was told what runs there."""

from __future__ import annotations

import pytest
from ursa.proto.errors import Conflict
from ursa.proto.kinds import Role
from ursa.proto.objects import Object
from ursa.proto.restores import HISTORY_LEASE, TOLD_ANNOTATION
from ursa.storage import MemoryStore

from .conftest import HandCommitter, Partition
from .test_ledger import node, placement

LEASES = "leases.coordination.k8s.io"


def set_back(partition: Partition, incarnation: str = "two") -> Partition:
    """Another partition with what this one holds now, as another history."""
    store = MemoryStore(HandCommitter(), incarnation=incarnation)
    store._records = dict(partition.store._records)  # type: ignore[attr-defined]
    store._restore(store._records.values(), partition.store.compacted)
    return Partition(Role.RESOURCE, store)


def told(partition: Partition, name: str, incarnation: str) -> None:
    present = partition.get("nodes", name, "", "")
    present.message.metadata.annotations[TOLD_ANNOTATION] = incarnation
    from ursa.clients.operations import update_operation

    partition.do(update_operation(present))


def history(partition: Partition) -> object:
    tenant, namespace, name = HISTORY_LEASE
    return partition.get(LEASES, name, tenant, namespace).spec


def test_a_partition_that_was_never_set_back_asks_for_nothing(resource_partition: Partition) -> None:
    resource_partition.create(placement("a", resource_partition.create(node("n1"))))
    assert history(resource_partition) == {"holderIdentity": "one", "leaseTransitions": 0}
    again = Partition(Role.RESOURCE, resource_partition.store)
    again.create(placement("b", again.get("nodes", "n1", "", "")))
    assert history(again) == {"holderIdentity": "one", "leaseTransitions": 0}


def test_a_node_takes_claims_once_its_kubelet_has_told_this_incarnation_what_runs_there(
    resource_partition: Partition,
) -> None:
    n1 = resource_partition.create(node("n1"))
    told(resource_partition, "n1", "one")
    restored = set_back(resource_partition)
    assert history(restored) == {"holderIdentity": "two", "leaseTransitions": 1}
    with pytest.raises(Conflict, match="has not said what runs there") as refused:
        restored.create(placement("a", n1))
    assert refused.value.key == "nodes///n1"
    restored.create(placement("runs", n1, 950, bound=True))
    told(restored, "n1", "two")
    with pytest.raises(Conflict, match="50m is free"):
        restored.create(placement("a", n1))
    restored.create(placement("a", n1, 50))


def test_a_node_that_registers_after_the_restore_is_told_of_too(resource_partition: Partition) -> None:
    """It may have been there before, in what was lost."""
    restored = set_back(resource_partition)
    n1 = restored.create(node("n1"))
    with pytest.raises(Conflict, match="has not said what runs there"):
        restored.create(placement("a", n1))
    told(restored, "n1", "two")
    restored.create(placement("a", n1))


def test_what_was_told_is_forgotten_with_the_node_and_with_the_next_restore(resource_partition: Partition) -> None:
    resource_partition.create(node("n1"))
    restored = set_back(resource_partition)
    told(restored, "n1", "two")
    once_more = set_back(restored, "three")
    assert history(once_more) == {"holderIdentity": "three", "leaseTransitions": 2}
    with pytest.raises(Conflict, match="has not said what runs there"):
        once_more.create(placement("a", once_more.get("nodes", "n1", "", "")))


def test_it_is_still_a_restored_one_after_a_restart(resource_partition: Partition) -> None:
    resource_partition.create(node("n1"))
    restarted = Partition(Role.RESOURCE, set_back(resource_partition).store)
    n1: Object = restarted.get("nodes", "n1", "", "")
    with pytest.raises(Conflict, match="has not said what runs there"):
        restarted.create(placement("a", n1))
