"""A write of who no longer leads is refused (S19: two leaders), and one that was carried out stays so."""

from __future__ import annotations

from typing import Any

from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import was_fenced_off
from ursa.proto.leases import LEASES, leader_lease
from ursa.proto.objects import Object, encode

from .objects import config
from .subjects import Subject, over_all_subjects
from .test_contract_writes import creation

KEY = leader_lease("controller-manager-p-1")


def lease_operation(holder: str, term: int, *, update: bool = True) -> pb.Operation:
    spec = {"holderIdentity": holder, "leaseTransitions": term, "leaseDurationSeconds": 15}
    metadata = {"tenant": KEY.tenant, "namespace": KEY.namespace, "name": KEY.name}
    lease = Object.from_dict({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata})
    message = lease.message
    message.spec = encode(spec)
    if update:
        return pb.Operation(resource=LEASES, update=pb.Update(object=message))
    return pb.Operation(resource=LEASES, create=pb.Create(object=message))


def delete_lease() -> pb.Operation:
    target = pb.GetRequest(resource=LEASES, tenant=KEY.tenant, namespace=KEY.namespace, name=KEY.name)
    return pb.Operation(resource=LEASES, delete=pb.Delete(target=target))


def fence(uid: str, term: int, holder: str, **changed: str) -> pb.Fence:
    names = {"tenant": KEY.tenant, "namespace": KEY.namespace, "name": KEY.name, **changed}
    return pb.Fence(uid=uid, term=term, holder=holder, **names)


async def grant(subject: Subject, holder: str, term: int) -> str:
    """The uid of the lease, which is made."""
    [result] = await subject.mutate(lease_operation(holder, term, update=False))
    assert not result.HasField("error")
    return result.uid


async def write(subject: Subject, of: pb.Fence | None, *operations: pb.Operation, **fields: Any) -> list[pb.Result]:
    reply = await subject.call("Write", pb.MutateRequest(operations=operations, fence=of, **fields))
    return list(reply.results)


def refused(results: list[pb.Result]) -> list[bool]:
    return [was_fenced_off(result.error) for result in results]


@over_all_subjects
async def test_a_write_of_who_leads_is_carried_out(subject: Subject) -> None:
    uid = await grant(subject, "one", 1)
    results = await write(subject, fence(uid, 1, "one"), creation(config("a")), creation(config("b")))
    assert refused(results) == [False, False]
    assert (await subject.list("configmaps")).names == ["a", "b"]


@over_all_subjects
async def test_a_write_of_another_term_or_holder_is_refused_and_none_of_its_batch_is_done(subject: Subject) -> None:
    uid = await grant(subject, "one", 5)
    for term, holder in [(4, "one"), (6, "one"), (5, "two"), (5, ""), (0, "one"), (-1, "one"), (2**62, "one")]:
        results = await write(subject, fence(uid, term, holder), creation(config("a")), creation(config("b")))
        assert refused(results) == [True, True]
        error = results[0].error
        assert (error.code, error.reason) == (409, "Conflict")
        assert "held by one in term 5" in error.message
        assert error.key.endswith(KEY.name)
        assert error.resource_version == subject.host.head()
    assert (await subject.list("configmaps")).names == []


@over_all_subjects
async def test_a_fence_by_a_lease_that_is_not_there_refuses(subject: Subject) -> None:
    uid = await grant(subject, "one", 1)
    for name in ("", "another", "a/b"):
        assert refused(await write(subject, fence(uid, 1, "one", name=name), creation(config("a")))) == [True]
    assert refused(await write(subject, fence(uid, 1, "one", tenant="acme"), creation(config("a")))) == [True]


@over_all_subjects
async def test_a_lease_that_was_made_again_grants_nothing_that_the_old_one_did(subject: Subject) -> None:
    uid = await grant(subject, "one", 1)
    await subject.mutate(delete_lease())
    assert refused(await write(subject, fence(uid, 1, "one"), creation(config("a")))) == [True]
    again = await grant(subject, "one", 1)
    assert refused(await write(subject, fence(uid, 1, "one"), creation(config("a")))) == [True]
    assert refused(await write(subject, fence(again, 1, "one"), creation(config("a")))) == [False]


@over_all_subjects
async def test_a_lease_that_nobody_holds_lets_nobody_write(subject: Subject) -> None:
    uid = await grant(subject, "", 3)
    assert refused(await write(subject, fence(uid, 3, ""), creation(config("a")))) == [True]


@over_all_subjects
async def test_renewals_change_nothing(subject: Subject) -> None:
    uid = await grant(subject, "one", 1)
    for name in ("a", "b"):
        assert refused(await write(subject, fence(uid, 1, "one"), creation(config(name)))) == [False]
        await subject.mutate(lease_operation("one", 1))


@over_all_subjects
async def test_a_batch_that_gives_the_lease_away_goes_no_further(subject: Subject) -> None:
    """Each operation is compared with what the one before it has left."""
    uid = await grant(subject, "one", 1)
    batch = [creation(config("a")), lease_operation("two", 2), creation(config("b"))]
    assert refused(await write(subject, fence(uid, 1, "one"), *batch)) == [False, False, True]
    assert (await subject.list("configmaps")).names == ["a"]


@over_all_subjects
async def test_a_grant_counts_before_it_is_durable(subject: Subject) -> None:
    """Two batches of one stream, which share a commit."""
    uid = await grant(subject, "one", 1)
    async with subject.stream("Mutate") as stream:
        await stream.send(pb.MutateRequest(operations=[lease_operation("two", 2)], batch=1))
        await stream.send(pb.MutateRequest(operations=[creation(config("a"))], batch=2, fence=fence(uid, 1, "one")))
        replies: list[pb.MutateReply] = []
        while len(replies) < 2:
            replies += await stream.receive()
    assert [reply.batch for reply in replies] == [1, 2]
    assert refused(list(replies[1].results)) == [True]


@over_all_subjects
async def test_a_dry_run_is_told_the_truth(subject: Subject) -> None:
    uid = await grant(subject, "one", 2)
    dry = creation(config("a"), dry_run=True)
    assert refused(await write(subject, fence(uid, 1, "one"), dry)) == [True]
    assert refused(await write(subject, fence(uid, 2, "one"), dry)) == [False]


@over_all_subjects
async def test_what_was_carried_out_is_answered_so_when_it_is_asked_again_in_a_later_term(subject: Subject) -> None:
    """Its answer was lost: it happened, whoever leads now. What comes with it and had not is refused."""
    uid = await grant(subject, "one", 1)
    done, late = creation(config("a")), creation(config("b"))
    done.request_id, late.request_id = b"id-1", b"id-2"
    [first] = await write(subject, fence(uid, 1, "one"), done)
    await subject.mutate(lease_operation("two", 2))
    again = await write(subject, fence(uid, 1, "one"), done, late)
    assert refused(again) == [False, True]
    assert again[0].resource_version == first.resource_version
    assert (await subject.list("configmaps")).names == ["a"]


@over_all_subjects
async def test_what_was_refused_is_not_remembered_as_done(subject: Subject) -> None:
    uid = await grant(subject, "one", 1)
    operation = creation(config("a"))
    operation.request_id = b"id-1"
    assert refused(await write(subject, fence(uid, 2, "one"), operation)) == [True]
    await subject.mutate(lease_operation("one", 2))
    assert refused(await write(subject, fence(uid, 2, "one"), operation)) == [False]


@over_all_subjects
async def test_a_fence_outlives_a_crash(subject: Subject) -> None:
    uid = await grant(subject, "one", 1)
    await subject.mutate(lease_operation("two", 2))
    await subject.crash()
    assert refused(await write(subject, fence(uid, 1, "one"), creation(config("a")))) == [True]
    assert refused(await write(subject, fence(uid, 2, "two"), creation(config("a")))) == [False]
