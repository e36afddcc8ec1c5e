"""Which finalizer of the garbage collector an object has once a delete with a propagation policy has been to it."""

from __future__ import annotations

from ...proto import ursa_pb2 as pb
from ...proto.propagation import FINALIZER_OF, POLICY_OF
from ..admission.strategy import Strategy


def set_policy(strategy: Strategy, metadata: pb.ObjectMeta, asked: str) -> bool:
    """Give the object the finalizer of the policy and take that of another one; whether anything changed.

    A policy that is asked for counts, else the one whose finalizer is there, else the kind's own.
    """
    if not strategy.default_propagation:
        return False
    present = [finalizer for finalizer in metadata.finalizers if finalizer in POLICY_OF]
    policy = asked or (POLICY_OF[present[0]] if present else strategy.default_propagation)
    wanted = [FINALIZER_OF[policy]] if policy in FINALIZER_OF else []
    if present == wanted:
        return False
    others = [finalizer for finalizer in metadata.finalizers if finalizer not in POLICY_OF]
    metadata.finalizers[:] = others + wanted
    return True
