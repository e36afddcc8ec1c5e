"""A pod on its way from unbound to bound."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from ...proto.objects import Object
from .framework.shape import Shape

if TYPE_CHECKING:
    from .actions import Action


class PodState(enum.Enum):
    """Where a pod stands. Only the first four are in a queue.

    ACTIVE -> CLAIMING -> (WAITING ->) BINDING -> BOUND, with ways back to a queue from CLAIMING (refused) and from
    RELEASING; of a pod that an earlier process has claimed a node for, TAKING_OVER is in the place of CLAIMING.
    """

    GATED = "gated"  # not to be queued yet, as a PreEnqueue plugin says
    ACTIVE = "active"  # to be looked at as soon as its turn comes
    BACKOFF = "backoff"  # after a failure, until its time has come
    UNSCHEDULABLE = "unschedulable"  # fits nowhere, until something changes
    CLAIMING = "claiming"  # a Placement is being created, or its outcome is unknown
    TAKING_OVER = "taking over"  # the Placement of an earlier process is being made ours, or that outcome is unknown
    WAITING = "waiting"  # the claim holds; a Permit plugin does not let it be bound yet
    BINDING = "binding"  # the claim holds; plugins bind it, or the Bind is on its way, or its outcome is unknown
    RELEASING = "releasing"  # the pod cannot be bound; its Placement is being deleted
    BOUND = "bound"  # done; waiting for the informer to see it leave


QUEUED = (PodState.GATED, PodState.ACTIVE, PodState.BACKOFF, PodState.UNSCHEDULABLE)


class PendingPod:
    """`order` breaks ties of priority: pods are looked at in the order of their arrival."""

    __slots__ = (
        "action",
        "arrived_at",
        "attempts",
        "claim_revision",
        "claimed_in",
        "conflicts",
        "deleting",
        "devices",
        "failures",
        "generation",
        "gone",
        "node",
        "node_uid",
        "object",
        "order",
        "partition",
        "released",
        "reported",
        "reported_at",
        "reported_problem",
        "resume_at",
        "shape",
        "slot",
        "state",
        "template",
        "ticket",
        "uid",
        "view_at_claim",
    )

    def __init__(self, obj: Object, shape: Shape, order: int, now: float) -> None:
        self.object = obj
        self.uid = obj.uid
        self.shape = shape
        self.template = shape.template
        self.order = order
        self.arrived_at = now
        self.state = PodState.ACTIVE
        self.ticket = 0  # its entry in a queue's heap is the one with this number; others are out of date
        self.gone = False  # it has left the unbound pods: bound by somebody, finished or deleted
        self.deleting = False  # its deletion has been asked for: it will never be bound if it is not
        self.attempts = 0
        self.failures = 0  # in a row, for its backoff
        self.conflicts = 0  # in a row
        self.resume_at = 0.0  # until then its group backs off, whenever what it holds has been given back
        self.released = ""  # the uid of the Placement last given up for it, which may still be in our view
        self.reported = ""  # what was last said about why it does not fit
        self.reported_at = 0.0
        self.reported_problem = False  # that was no count of nodes, but what has gone wrong
        # The claim: the node it is for, and how much of the node's row had been seen when it was chosen.
        self.partition = self.node = self.node_uid = ""
        self.devices: tuple[int, ...] = ()
        self.generation = 0  # of the spec by which it was chosen
        self.claim_revision = 0  # of its Placement as it was made; 0: another process has made it
        self.claimed_in = ""  # the history of the home partition, as the Placement says it; empty: it does not
        self.slot = self.view_at_claim = -1
        self.action: Action | None = None  # what is on its way for it, or to be repeated
