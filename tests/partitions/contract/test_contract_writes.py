"""Writes, as Kubernetes defines them: what is checked, what is stamped, and what is answered."""

from __future__ import annotations

import pytest
import trio
from ursa.clients.transport.interface import Stream
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import AlreadyExists, ApiError, BadRequest, Conflict, Forbidden, Invalid, NotFound
from ursa.proto.objects import Object

from .objects import config, namespace, pod, tenant
from .subjects import Subject, name_of, only_leaf, over_all_subjects


def creation(manifest: dict, **options: bool) -> pb.Operation:
    obj = Object.from_dict(manifest)
    operation = pb.Operation(resource={"Pod": "pods", "ConfigMap": "configmaps"}[obj.kind], **options)
    operation.create.object.CopyFrom(obj.message)
    return operation


# -------------------------------------------------------------------------------------------------------------- create


@over_all_subjects
async def test_a_created_object_is_stamped_by_the_server(subject: Subject) -> None:
    before = subject.host.head()
    created = await subject.create(pod("a", uid="made-up", creationTimestamp="2001-01-01T00:00:00Z"))
    assert created.resource_version == subject.host.head() == before + 1
    assert created.uid not in ("", "made-up")
    assert created.creation_ms > 1_600_000_000_000
    assert (created.generation, created.status["phase"], created.deletion_ms) == (1, "Pending", 0)


@over_all_subjects
async def test_what_is_there_is_not_created_again(subject: Subject) -> None:
    created = await subject.create(config("a", "mine"))
    with pytest.raises(AlreadyExists) as told:
        await subject.create(config("a", "yours"))
    assert told.value.resource_version == created.resource_version
    assert (await subject.get("configmaps", "a")).message == created.message


@over_all_subjects
async def test_the_same_name_is_free_in_other_places_and_for_other_kinds(subject: Subject) -> None:
    await subject.create(tenant("acme"))
    made = [
        await subject.create(manifest)
        for manifest in (
            config("a"),
            config("a", namespace="kube-system"),
            config("a", tenant="acme"),
            pod("a"),
        )
    ]
    assert len({obj.uid for obj in made}) == 4
    assert [item.message for item in (await subject.list("configmaps", tenant="acme")).items] == [made[2].message]


@over_all_subjects
async def test_a_name_may_be_made_up_by_the_server_and_is_told(subject: Subject) -> None:
    manifest = config("", generateName="worker-")
    del manifest["metadata"]["name"]
    results = await subject.mutate(*(creation(manifest) for _ in range(5)))
    names = [result.name for result in results]
    assert len(dict.fromkeys(names)) == 5
    assert all(name.startswith("worker-") and len(name) > len("worker-") for name in names)
    assert (await subject.list("configmaps")).names == sorted(names)


@over_all_subjects
async def test_nothing_is_created_in_a_namespace_or_a_tenant_that_is_not_there_or_is_going(subject: Subject) -> None:
    for place in ({"namespace": "nowhere"}, {"tenant": "nobody"}):
        with pytest.raises(NotFound, match="does not exist"):
            await subject.create(config("a", **place))
    going = await subject.create(namespace("going"))
    await subject.delete(going)
    with pytest.raises(Forbidden, match="being deleted"):
        await subject.create(config("a", namespace="going"))


@over_all_subjects
async def test_an_invalid_object_is_refused_with_all_its_causes(subject: Subject) -> None:
    manifest = pod("Not_A_Name", labels={"bad key!": "x", "k": "v" * 64})
    before = subject.host.head()
    with pytest.raises(Invalid) as told:
        await subject.create(manifest)
    fields = [cause.field for cause in told.value.causes]
    assert any("name" in field for field in fields)
    assert sum("labels" in field for field in fields) == 2
    assert subject.host.head() == before


@over_all_subjects
async def test_an_object_without_a_name_of_another_kind_or_version_is_refused(subject: Subject) -> None:
    nameless = config("a")
    del nameless["metadata"]["name"]
    for manifest in (nameless, config("a") | {"kind": "Pod"}, config("a") | {"apiVersion": "v2"}):
        operation = creation(config("a"))
        operation.create.object.CopyFrom(Object.from_dict(manifest).message)
        with pytest.raises((BadRequest, Invalid)):
            await subject.do(operation)
    assert (await subject.list("configmaps")).names == []


# -------------------------------------------------------------------------------------------------------------- update


@over_all_subjects
async def test_an_update_of_what_was_read_since_changed_is_a_conflict_and_changes_nothing(subject: Subject) -> None:
    read = await subject.create(config("a"))
    newer = await subject.label(read, winner="1")
    with pytest.raises(Conflict) as told:
        await subject.label(read, loser="1")
    assert told.value.resource_version == newer.resource_version
    assert (await subject.get("configmaps", "a")).message == newer.message


@over_all_subjects
async def test_an_update_without_a_revision_replaces_whatever_is_there(subject: Subject) -> None:
    await subject.label(await subject.create(config("a")), x="1")
    blind = await subject.update(Object.from_dict(config("a", "new", labels={"y": "2"})))
    assert dict(blind.labels) == {"y": "2"}
    assert blind.rest["data"]["payload"] == "new"


@over_all_subjects
async def test_an_update_of_another_life_is_a_conflict(subject: Subject) -> None:
    first = await subject.create(config("a"))
    await subject.delete(first)
    second = await subject.create(config("a"))
    assert second.uid != first.uid
    stale = first.with_metadata(labels={"x": "1"})
    stale.message.metadata.resource_version = 0
    with pytest.raises(Conflict, match="uid"):
        await subject.update(stale)


@over_all_subjects
async def test_an_update_of_what_is_not_there_is_not_found(subject: Subject) -> None:
    gone = await subject.create(config("a"))
    await subject.delete(gone)
    with pytest.raises(NotFound):
        await subject.label(gone, x="1")


@over_all_subjects
async def test_an_update_that_changes_nothing_takes_no_revision(subject: Subject) -> None:
    created = await subject.create(config("a"))
    again = await subject.update(created)
    assert again.message == created.message
    assert subject.host.head() == created.resource_version


@over_all_subjects
async def test_what_the_server_owns_is_not_taken_from_an_update(subject: Subject) -> None:
    created = await subject.create(pod("a"))
    forged = created.with_metadata(labels={"x": "1"})
    forged.message.metadata.creation_ms = 1
    forged.message.metadata.generation = 77
    forged.message.metadata.deletion_ms = 5
    changed = await subject.update(forged.with_status({"phase": "Failed"}))
    assert (changed.creation_ms, changed.generation, changed.deletion_ms) == (created.creation_ms, 1, 0)
    assert changed.status == created.status


@over_all_subjects
async def test_the_status_is_changed_apart_and_changes_nothing_else(subject: Subject) -> None:
    created = await subject.create(pod("a"))
    claimed = created.with_metadata(labels={"x": "1"}).with_status({"phase": "Running"})
    running = await subject.update(claimed, subresource="status")
    assert running.status["phase"] == "Running"
    assert (dict(running.labels), running.generation) == ({}, created.generation)
    assert running.resource_version > created.resource_version


@over_all_subjects
async def test_the_generation_counts_changes_of_the_spec(subject: Subject) -> None:
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "tenant": "system", "namespace": "default"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": "app:1"}]},
            },
        },
    }
    created = await subject.create(manifest)
    labelled = await subject.label(created, x="1")
    assert (created.generation, labelled.generation) == (1, 1)
    scaled = await subject.update(labelled.with_spec({**labelled.spec, "replicas": 5}))
    assert scaled.generation == 2


@over_all_subjects
async def test_of_updates_that_race_none_is_lost(subject: Subject) -> None:
    await subject.create(config("counter", "0"))

    async def add() -> None:
        for _ in range(4):
            while True:
                read = await subject.get("configmaps", "counter")
                number = int(read.rest["data"]["payload"])
                try:
                    await subject.update(read.with_rest({"data": {"payload": str(number + 1)}}))
                    break
                except Conflict:
                    await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(add)
    assert (await subject.get("configmaps", "counter")).rest["data"]["payload"] == "20"


# -------------------------------------------------------------------------------------------------------------- delete


@over_all_subjects
async def test_a_deletion_has_a_revision_of_its_own_and_the_name_is_free_again(subject: Subject) -> None:
    first = await subject.create(config("a"))
    gone = await subject.delete(first)
    assert gone == subject.host.head() == first.resource_version + 1
    second = await subject.create(config("a"))
    assert (second.resource_version, second.uid != first.uid) == (gone + 1, True)


@over_all_subjects
async def test_a_deletion_may_ask_for_the_uid_and_the_revision_that_were_read(subject: Subject) -> None:
    created = await subject.create(config("a"))
    changed = await subject.label(created, x="1")
    for wrong in ({"uid": "another"}, {"resource_version": created.resource_version}):
        with pytest.raises(Conflict):
            await subject.delete(changed, **wrong)
    assert (await subject.get("configmaps", "a")).message == changed.message
    await subject.delete(changed, uid=changed.uid, resource_version=changed.resource_version)


@over_all_subjects
async def test_a_deletion_of_what_is_not_there_is_not_found(subject: Subject) -> None:
    created = await subject.create(config("a"))
    await subject.delete(created)
    with pytest.raises(NotFound):
        await subject.delete(created)


@over_all_subjects
async def test_a_deletion_in_the_foreground_waits_until_somebody_takes_its_finalizer(subject: Subject) -> None:
    created = await subject.create(config("a"))
    operation = pb.Operation(resource="configmaps")
    operation.delete.target.CopyFrom(name_of(created))
    operation.delete.propagation = "Foreground"
    await subject.do(operation)
    going = await subject.get("configmaps", "a")
    assert (going.deletion_ms > 0, going.finalizers) == (True, ("foregroundDeletion",))
    await subject.update(going.with_metadata(finalizers=[]))
    with pytest.raises(NotFound):
        await subject.get("configmaps", "a")


@over_all_subjects
async def test_finalizers_keep_an_object_until_the_last_is_gone(subject: Subject) -> None:
    created = await subject.create(config("a", finalizers=["ursa.dev/one", "ursa.dev/two"]))
    await subject.delete(created)
    going = await subject.get("configmaps", "a")
    assert going.deletion_ms > 0
    await subject.delete(going)
    assert (await subject.get("configmaps", "a")).message == going.message
    with pytest.raises(AlreadyExists, match="being deleted"):
        await subject.create(config("a"))
    one = await subject.update(going.with_metadata(finalizers=["ursa.dev/two"]))
    assert one.deletion_ms == going.deletion_ms
    await subject.update(one.with_metadata(finalizers=[]))
    with pytest.raises(NotFound):
        await subject.get("configmaps", "a")


@over_all_subjects
async def test_a_bound_pod_is_given_its_time_and_then_deleted_at_once(subject: Subject) -> None:
    created = await subject.create(pod("a"))
    operation = pb.Operation(resource="pods")
    operation.bind.target.CopyFrom(name_of(created))
    operation.bind.preconditions.uid = created.uid
    operation.bind.node, operation.bind.resource_partition = "n1", "rp-1"
    await subject.do(operation)
    await subject.delete(created, grace_seconds=20)
    going = await subject.get("pods", "a")
    assert going.deletion_ms > 0
    assert going.message.metadata.deletion_grace_seconds == 20
    await subject.delete(going, uid=going.uid)
    with pytest.raises(NotFound):
        await subject.get("pods", "a")


# ---------------------------------------------------------------------------------------------------- batches, dry runs


@over_all_subjects
async def test_each_operation_of_a_batch_is_answered_in_order_and_on_its_own(subject: Subject) -> None:
    results = await subject.mutate(
        creation(config("a")),
        creation(config("a")),
        creation(config("b")),
        pb.Operation(resource="unicorns"),
        pb.Operation(resource="configmaps"),
        creation(config("Not_A_Name")),
        creation(config("c")),
    )
    assert [result.error.reason for result in results] == [
        "",
        "AlreadyExists",
        "",
        "BadRequest",
        "BadRequest",
        "Invalid",
        "",
    ]
    assert (await subject.list("configmaps")).names == ["a", "b", "c"]


@over_all_subjects
async def test_operations_of_a_batch_build_on_those_before_them(subject: Subject) -> None:
    change = pb.Operation(resource="configmaps")
    change.update.object.CopyFrom(Object.from_dict(config("a", "second")).message)
    removal = pb.Operation(resource="configmaps")
    removal.delete.target.CopyFrom(name_of(Object.from_dict(config("a"))))
    results = await subject.mutate(
        creation(config("a", "first")), change, removal, removal, creation(config("a", "third"))
    )
    assert [result.error.reason for result in results] == ["", "", "", "NotFound", ""]
    revisions = [result.resource_version for result in results if not result.HasField("error")]
    assert revisions == list(range(revisions[0], revisions[0] + 4))
    assert (await subject.get("configmaps", "a")).rest["data"]["payload"] == "third"


@over_all_subjects
async def test_every_write_has_a_revision_of_its_own_whatever_its_kind(subject: Subject) -> None:
    before = subject.host.head()
    results = await subject.mutate(*(creation((config, pod)[number % 2](f"x-{number}")) for number in range(10)))
    assert [result.resource_version for result in results] == list(range(before + 1, before + 11))


@over_all_subjects
async def test_a_dry_run_answers_like_a_write_and_writes_nothing(subject: Subject) -> None:
    created = await subject.create(config("a"))
    head = subject.host.head()
    watching = subject.watch("configmaps", resource_version=head)
    made = await subject.create(config("b"), dry_run=True)
    assert (made.name, bool(made.uid)) == ("b", True)
    changed = await subject.update(created.with_metadata(labels={"x": "1"}), dry_run=True)
    assert dict(changed.labels) == {"x": "1"}
    removal = pb.Operation(resource="configmaps", dry_run=True)
    removal.delete.target.CopyFrom(name_of(created))
    await subject.do(removal)
    refused: list[ApiError] = []
    for manifest in (config("a"), config("Not_A_Name"), config("c", namespace="nowhere")):
        with pytest.raises(ApiError) as told:
            await subject.create(manifest, dry_run=True)
        refused.append(told.value)
    assert [error.reason for error in refused] == ["AlreadyExists", "Invalid", "NotFound"]
    assert subject.host.head() == head
    assert [item.message for item in (await subject.list("configmaps")).items] == [created.message]
    await subject.settled(watching)
    assert watching.events == []


@over_all_subjects
async def test_an_answer_waits_until_the_write_is_durable(subject: Subject) -> None:
    subject.host.hold_commits()
    async with subject.stream("Mutate") as stream:
        await stream.send(pb.MutateRequest(operations=[creation(config("a"))], batch=7))
        answers: list[pb.MutateReply] = []

        async def wait_for_answer() -> None:
            answers.extend(await stream.receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_answer)
            assert (await subject.list_patiently("configmaps")).names == []
            assert answers == []
            subject.host.release_commits()
        assert [(reply.batch, len(reply.results)) for reply in answers] == [(7, 1)]
    assert (await subject.list("configmaps")).names == ["a"]


@over_all_subjects
async def test_what_was_answered_is_there_after_a_crash_and_revisions_go_on(subject: Subject) -> None:
    created = await subject.create(config("a"))
    await subject.crash()
    assert (await subject.get("configmaps", "a")).message == created.message
    again = await subject.create(config("b"))
    assert again.resource_version > created.resource_version


@over_all_subjects
async def test_a_batch_that_is_too_long_is_refused_and_none_of_it_is_done(subject: Subject) -> None:
    batch = [creation(config(f"c-{number}")) for number in range(257)]
    with pytest.raises(BadRequest, match="256"):
        await subject.call("Write", pb.MutateRequest(operations=batch))
    assert (await subject.list("configmaps")).names == []


@over_all_subjects
async def test_a_refusal_is_told_although_the_client_goes_on_sending(subject: Subject) -> None:
    too_long = pb.MutateRequest(operations=[creation(config("a"))] * 257)
    for _ in range(20):
        async with subject.stream("Mutate") as stream:
            with pytest.raises(BadRequest, match="256"):
                await keep_sending(stream, too_long)


async def keep_sending(stream: Stream, message: pb.MutateRequest) -> None:
    async def receive() -> None:
        while await stream.receive():
            pass

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            for _ in range(100):
                await stream.send(message)
                await trio.lowlevel.checkpoint()
            await trio.sleep(1)
    except BaseExceptionGroup as group:
        raise only_leaf(group) from None
