"""What a partition takes of a tenant that is not open there, what is brought to it, and what it forgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import BadRequest, Conflict, Forbidden, Invalid, NotFound, ServiceUnavailable
from ursa.proto.kinds import BY_KIND, Role
from ursa.proto.objects import Object
from ursa.proto.tenants import ACTIVE, ARRIVING, LEAVING, LEFT, MOVED, MOVED_TO, PENDING, TENANTS, Record, with_record
from ursa.storage import MemoryStore

from .conftest import HandCommitter, Partition

Open = Callable[..., Partition]


@pytest.fixture
def partition() -> Partition:
    return Partition(Role.TENANT)


def tenant(record: Record | None = None, name: str = "acme") -> dict[str, Any]:
    spec = {} if record is None else record.spec()
    return {"apiVersion": "ursa.dev/v1", "kind": "Tenant", "metadata": {"name": name}, "spec": spec}


def config_map(name: str = "a", value: str = "1") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "tenant": "acme"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": value}}


def becomes(partition: Partition, record: Record) -> None:
    """The tenant's object says this from now on."""
    present = partition.get(TENANTS, "acme", "", "")
    operation = pb.Operation(resource=TENANTS)
    operation.update.object.CopyFrom(with_record(present, record).message)
    partition.do(operation)


def transfer(obj: Object, move: str = "m", *, gone: bool = False) -> pb.Operation:
    operation = pb.Operation(resource=BY_KIND[obj.kind].resource)
    operation.transfer.object.CopyFrom(obj.message)
    operation.transfer.move, operation.transfer.gone = move, gone
    return operation


def arriving(partition: Partition, epoch: int = 1, move: str = "m", uid: str = "tenant-uid") -> None:
    brought = Object.from_dict(tenant(Record(ARRIVING, epoch, "tp-1", move)))
    brought.message.metadata.uid = uid
    partition.do(transfer(brought))


def brought(name: str = "a", value: str = "1", uid: str = "") -> Object:
    obj = Object.from_dict({**config_map(name, value)})
    metadata = obj.message.metadata
    metadata.uid, metadata.creation_ms, metadata.generation = uid or f"uid-{name}", 1234, 7
    metadata.finalizers.append("example.com/keep")
    return obj


def delete(resource: str, name: str, **where: str) -> pb.Operation:
    operation = pb.Operation(resource=resource)
    operation.delete.target.CopyFrom(pb.GetRequest(resource=resource, name=name, **where))
    return operation


WRITES: dict[str, Callable[[], pb.Operation]] = {
    "create": lambda: _create(config_map("new")),
    "update": lambda: _update(config_map("a", "2")),
    "delete": lambda: delete("configmaps", "a", tenant="acme", namespace="default"),
    "patch": lambda: _patch(),
    "collection": lambda: _collection("acme"),
    "namespace": lambda: delete("namespaces", "default", tenant="acme"),
}


def _create(manifest: dict[str, Any]) -> pb.Operation:
    operation = pb.Operation(resource="configmaps")
    operation.create.object.CopyFrom(Object.from_dict(manifest).message)
    return operation


def _update(manifest: dict[str, Any]) -> pb.Operation:
    operation = pb.Operation(resource="configmaps")
    operation.update.object.CopyFrom(Object.from_dict(manifest).message)
    return operation


def _patch() -> pb.Operation:
    operation = pb.Operation(resource="configmaps", field_manager="m")
    operation.patch.target.CopyFrom(pb.GetRequest(resource="configmaps", tenant="acme", namespace="default", name="b"))
    operation.patch.type = pb.Patch.APPLY
    return operation


def _collection(tenant: str) -> pb.Operation:
    operation = pb.Operation(resource="configmaps")
    operation.delete_collection.selection.CopyFrom(
        pb.Selection(resource="configmaps", tenant=tenant, namespace="default")
    )
    return operation


@pytest.mark.parametrize("write", WRITES)
def test_nothing_of_a_tenant_that_leaves_is_written_and_all_of_it_is_read(partition: Partition, write: str) -> None:
    partition.create(tenant())
    partition.create(config_map())
    becomes(partition, Record(LEAVING, 1, "tp-2"))
    before = partition.get("configmaps", "a", "acme")
    with pytest.raises(ServiceUnavailable, match="is being moved to tp-2") as refused:
        partition.do(WRITES[write]())
    assert refused.value.retry_after_ms
    assert partition.get("configmaps", "a", "acme").message == before.message


def test_a_tenant_that_stays_after_all_is_written_again(partition: Partition) -> None:
    partition.create(tenant())
    becomes(partition, Record(LEAVING, 1, "tp-2"))
    becomes(partition, Record(ACTIVE, 2))
    partition.create(config_map())


def test_a_claimed_tenant_takes_nothing_before_it_is_active(partition: Partition) -> None:
    partition.create(tenant(Record(PENDING)))
    with pytest.raises(ServiceUnavailable, match="is being created"):
        partition.create(config_map())
    becomes(partition, Record(ACTIVE))
    partition.create(config_map())


def test_other_tenants_notice_nothing(partition: Partition) -> None:
    partition.create(tenant())
    partition.create(tenant(name="other"))
    becomes(partition, Record(LEAVING, 1, "tp-2"))
    manifest = config_map()
    manifest["metadata"]["tenant"] = "other"
    partition.create(manifest)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Record(), Record(LEFT, 1, "tp-2")),
        (Record(LEAVING, 1, "tp-2"), Record(ACTIVE, 1)),
        (Record(LEAVING, 2, "tp-2"), Record(ACTIVE, 1)),
        (Record(LEAVING, 1, "tp-2"), Record(MOVED, 1, "tp-2")),
        (Record(), Record(PENDING)),
    ],
)
def test_a_tenant_skips_no_step_and_its_epoch_does_not_fall(
    partition: Partition, before: Record, after: Record
) -> None:
    partition.create(tenant())
    if before.state == LEAVING:
        becomes(partition, before)
    with pytest.raises(Invalid, match="which no tenant does"):
        becomes(partition, after)


def test_a_manifest_without_a_record_does_not_undo_a_move(partition: Partition) -> None:
    partition.create(tenant())
    becomes(partition, Record(LEAVING, 1, "tp-2"))
    operation = pb.Operation(resource=TENANTS)
    operation.update.object.CopyFrom(Object.from_dict(tenant()).message)
    with pytest.raises(Invalid, match="leave state and epoch as they are"):
        partition.do(operation)


def test_a_tenant_is_not_deleted_while_it_moves_and_the_system_s_never(partition: Partition) -> None:
    partition.create(tenant())
    becomes(partition, Record(LEAVING, 1, "tp-2"))
    with pytest.raises(ServiceUnavailable):
        partition.do(delete(TENANTS, "acme"))
    with pytest.raises(Forbidden, match="needs it"):
        partition.do(delete(TENANTS, "system"))


# ------------------------------------------------------------------------------------------------------------- brought


def test_what_is_brought_is_as_it_was(partition: Partition) -> None:
    arriving(partition)
    partition.do(transfer(brought()))
    here = partition.get("configmaps", "a", "acme")
    expected = brought().message
    expected.metadata.resource_version = here.resource_version
    assert here.message == expected


def test_what_is_brought_twice_is_written_once_and_the_later_state_counts(partition: Partition) -> None:
    arriving(partition)
    first = partition.do(transfer(brought()))
    assert partition.do(transfer(brought())).resource_version == first.resource_version
    partition.do(transfer(brought(value="2")))
    assert partition.get("configmaps", "a", "acme").rest["data"] == {"key": "2"}


def test_word_that_it_is_gone_leaves_nothing_whatever_its_finalizers(partition: Partition) -> None:
    arriving(partition)
    partition.do(transfer(brought()))
    partition.do(transfer(brought(), gone=True))
    with pytest.raises(NotFound):
        partition.get("configmaps", "a", "acme")
    partition.do(transfer(brought(), gone=True))


def test_of_two_moves_only_the_later_one_brings_anything(partition: Partition) -> None:
    arriving(partition, move="first")
    arriving(partition, move="second")
    with pytest.raises(Conflict, match="this move is over"):
        partition.do(transfer(brought(), "first"))
    partition.do(transfer(brought(), "second"))


def test_nothing_is_brought_to_a_tenant_that_is_open(partition: Partition) -> None:
    with pytest.raises(Conflict):
        partition.do(transfer(brought()))
    partition.create(tenant())
    with pytest.raises(Conflict):
        partition.do(transfer(brought()))
    with pytest.raises(Conflict, match="there is a tenant 'acme' here"):
        arriving(partition)


def test_a_tenant_that_arrives_takes_no_other_writes_until_it_is_active(partition: Partition) -> None:
    arriving(partition)
    namespace = Object.from_dict(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "tenant": "acme", "uid": "n"}}
    )
    partition.do(transfer(namespace))
    with pytest.raises(ServiceUnavailable, match="is being moved here from tp-1"):
        partition.create(config_map())
    becomes(partition, Record(ACTIVE, 1))
    partition.create(config_map())


# ----------------------------------------------------------------------------------------------------------- forgotten


def moved_away(partition: Partition, objects: int = 3) -> None:
    partition.create(tenant())
    for number in range(objects):
        partition.create({**config_map(f"c-{number:03}")})
    becomes(partition, Record(LEAVING, 1, "tp-2"))
    becomes(partition, Record(LEFT, 1, "tp-2"))
    becomes(partition, Record(MOVED, 1, "tp-2"))


def keys(partition: Partition) -> list[str]:
    return [record.key for record in partition.store.range("/registry/") if "/acme" in record.key]


def test_what_has_moved_is_forgotten_but_for_a_signpost(partition: Partition) -> None:
    moved_away(partition, 600)
    partition.runtime.advance(10)
    assert keys(partition) == ["/registry/tenants.ursa.dev///acme"]
    with pytest.raises(NotFound, match="has moved to tp-2"):
        partition.create(config_map())
    assert partition.get(TENANTS, "acme", "", "").status["phase"] == MOVED


def test_who_watches_is_told_where_to(partition: Partition) -> None:
    partition.create(tenant())
    partition.create(config_map())
    before = partition.get("configmaps", "a", "acme").message
    for record in (Record(LEAVING, 1, "tp-2"), Record(LEFT, 1, "tp-2"), Record(MOVED, 1, "tp-2")):
        becomes(partition, record)
    partition.runtime.advance(10)
    [last] = [each for each in partition.store.log(0) if each.deleted and "/configmaps/" in each.key]
    message = pb.Object.FromString(last.value)
    assert dict(message.metadata.annotations) == {MOVED_TO: "tp-2"}
    assert message.metadata.uid == before.metadata.uid


def test_forgetting_goes_on_after_a_restart() -> None:
    store = MemoryStore(HandCommitter(), incarnation="one")
    partition = Partition(Role.TENANT, store)
    moved_away(partition)
    partition.runtime.advance(0.1)
    assert len(keys(partition)) > 1
    partition.server.close()
    again = Partition(Role.TENANT, store)
    again.runtime.advance(10)
    assert len(keys(again)) == 1


def test_it_comes_back_only_when_all_is_forgotten_and_only_newer(partition: Partition) -> None:
    moved_away(partition)
    uid = partition.get(TENANTS, "acme", "", "").uid
    with pytest.raises(ServiceUnavailable, match="not forgotten yet"):
        arriving(partition, epoch=2, uid=uid)
    with pytest.raises(ServiceUnavailable, match="not forgotten yet"):
        partition.do(delete(TENANTS, "acme"))
    partition.runtime.advance(10)
    with pytest.raises(Conflict, match="was here at epoch 1"):
        arriving(partition, epoch=1, uid=uid)
    arriving(partition, epoch=2, uid=uid)


def test_the_signpost_of_a_tenant_that_is_no_more_gives_way(partition: Partition) -> None:
    moved_away(partition)
    partition.runtime.advance(10)
    partition.do(delete(TENANTS, "acme"))
    partition.create(tenant())
    partition.create(config_map())


def test_what_is_brought_must_be_what_a_partition_has(partition: Partition) -> None:
    arriving(partition)
    with pytest.raises(BadRequest, match="its uid"):
        partition.do(transfer(Object.from_dict(config_map())))
    node = Object.from_dict({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x", "tenant": "other"}})
    with pytest.raises(Conflict):
        partition.do(transfer(node))
    partition.do(transfer(brought(uid="one")))
    with pytest.raises(BadRequest, match="another object here"):
        partition.do(transfer(brought(uid="two")))
