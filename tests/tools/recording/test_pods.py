"""What judges read of a pod."""

from __future__ import annotations

from ursa.proto import ursa_pb2 as pb
from ursa.tools.checking.changes import change_of
from ursa.tools.checking.pods import read_pods

from .spoilt_truth import logged


def test_of_several_owners_of_a_kind_the_controlling_one_is_its_controller() -> None:
    metadata = pb.ObjectMeta(tenant="t", namespace="n", name="a", uid="a")
    metadata.owner_references.add(kind="ReplicaSet", uid="other")
    metadata.owner_references.add(kind="ReplicaSet", uid="set", controller=True)
    facts = read_pods([change_of(logged(1, "/registry/pods/t/n/a", pb.Object(metadata=metadata)))])[1]
    owner = facts.controller("ReplicaSet")
    assert owner is not None
    assert owner.uid == "set"
    assert facts.controller("Job") is None
