"""A claim is of use where its pod's tenant lives: it is not given up because that is elsewhere."""

from __future__ import annotations

from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import Cause, NotFound, ServiceUnavailable
from ursa.proto.tenants import TENANT_NOT_HERE

from .objects import pod
from .rig import HOME, Rig
from .test_two_step_bind import decide, exchange, rig_with


def about_to_bind() -> tuple[Rig, str]:
    rig = rig_with(("rp-1", "n", "4"))
    uid = rig.add_pod(pod("p", {"cpu": "1"}))
    decide(rig)
    exchange(rig, "rp-1")
    return rig, uid


def refused(rig: Rig, error: NotFound | ServiceUnavailable) -> None:
    binds, rig.outbox[HOME] = rig.outbox[HOME], []
    rig.core.answered(HOME, binds, [pb.Result(error=error.status)], rig.now)
    rig.step()


def test_the_claim_of_a_pod_whose_tenant_has_moved_is_left_to_who_binds_it_there() -> None:
    rig, uid = about_to_bind()
    refused(rig, NotFound("moved", causes=[Cause("metadata.tenant", "it is in tp-2", TENANT_NOT_HERE)]))
    assert rig.claims(uid) == [("rp-1", "n")]
    assert not rig.core.pods
    rig.delete_pod("p")
    rig.deliver_all()
    rig.step()
    assert not rig.outbox["rp-1"], "it is not given up later, either"


def test_the_claim_of_a_pod_whose_tenant_is_frozen_waits_for_what_becomes_of_it() -> None:
    rig, uid = about_to_bind()
    refused(rig, ServiceUnavailable("moving", causes=[Cause("metadata.tenant", "it is Leaving", TENANT_NOT_HERE)]))
    assert rig.claims(uid) == [("rp-1", "n")]
    rig.settle(10)
    assert rig.bound == {uid: ("rp-1", "n")}
