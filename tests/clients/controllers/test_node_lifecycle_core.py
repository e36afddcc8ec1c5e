"""A node is dead when its lease has been seen not to change, and never because nobody was looking."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.controllers.node_lifecycle_core import UNREACHABLE, NodeLifecycleCore, toleration_seconds
from ursa.clients.controllers.options import ResourceControllerOptions
from ursa.clients.informer import Event, EventType
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object

OPTIONS = ResourceControllerOptions()
GRACE = OPTIONS.node_grace_seconds


def node(name: str, uid: str = "u", labels: dict[str, str] | None = None) -> Object:
    status = {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}
    metadata = {"name": name, "uid": uid, "labels": labels or {}}
    return Object.from_dict({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status})


def lease(name: str, renewed: int) -> Object:
    spec = {"renewTime": str(renewed)}
    metadata = {"name": name, "namespace": "kube-node-lease", "tenant": "system"}
    return Object.from_dict(
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
    )


class Nodes:
    """A core, and the Node objects as its writes make them."""

    def __init__(self, *names: str) -> None:
        self.core = NodeLifecycleCore(OPTIONS)
        self.now = 0.0
        self.objects: dict[str, Object] = {}
        self._renewals = 0
        for name in names:
            self.put(node(name))

    def put(self, obj: Object) -> None:
        self.objects[obj.name] = obj
        self.core.node_event(Event(EventType.MODIFIED, obj, None), self.now)

    def renew(self, *names: str) -> None:
        for name in names:
            self._renewals += 1
            self.core.lease_event(Event(EventType.MODIFIED, lease(name, self._renewals), None), self.now)

    def tick(self, seconds: float = 5.0, *, fresh: bool = True) -> None:
        """Let time pass, and carry out what the core writes, until it writes nothing more."""
        self.now += seconds
        for operation in self.core.tick(self.now, round(self.now * 1000), fresh):
            self._write(operation)
        for operation in self.core.tick(self.now, round(self.now * 1000), fresh):
            self._write(operation)
        assert self.core.tick(self.now, round(self.now * 1000), fresh) == []

    def _write(self, operation: pb.Operation) -> None:
        new = operation.update.object
        kept = self.objects[new.metadata.name]
        changed = {"status": new.status} if operation.update.subresource == "status" else {"spec": new.spec}
        message = pb.Object()
        message.CopyFrom(kept.message)
        for part, data in changed.items():
            setattr(message, part, data)
        self.put(Object(message))

    def is_lost(self, name: str) -> bool:
        obj = self.objects[name]
        tainted = any(taint["key"] == UNREACHABLE for taint in obj.spec.get("taints") or ())
        assert tainted == (obj.status["conditions"][0]["status"] == "Unknown"), "taints and condition agree"
        return tainted


def test_a_node_whose_lease_stands_still_is_marked_and_unmarked_when_it_moves_again() -> None:
    nodes = Nodes("a", "b")
    nodes.tick()
    for _ in range(9):
        nodes.renew("b")
        nodes.tick()
    assert (nodes.is_lost("a"), nodes.is_lost("b")) == (True, False)
    nodes.renew("a")
    nodes.tick()
    assert not nodes.is_lost("a")
    assert nodes.objects["a"].status["conditions"][0]["reason"] == "KubeletReady"


def test_other_taints_stay() -> None:
    nodes = Nodes("b")
    own = {"key": "dedicated", "value": "x", "effect": "NoSchedule"}
    nodes.put(node("a").with_spec({"taints": [own]}))
    nodes.tick()
    for _ in range(9):
        nodes.renew("b")
        nodes.tick()
    assert nodes.objects["a"].spec["taints"][0] == own
    nodes.renew("a")
    nodes.tick()
    assert nodes.objects["a"].spec["taints"] == [own]


def test_a_lost_view_judges_nothing_and_every_node_gets_its_grace_anew() -> None:
    """Kubernetes #121793."""
    nodes = Nodes("a", "b")
    nodes.tick()
    nodes.tick(1000, fresh=False)
    nodes.tick(1)
    for _ in range(2):
        nodes.tick(GRACE / 2 - 1)
    assert not nodes.is_lost("a")
    nodes.tick(3)
    assert nodes.is_lost("a")


def test_a_controller_that_was_asleep_gives_every_node_its_grace_anew() -> None:
    nodes = Nodes("a", "b")
    nodes.tick()
    nodes.tick(1000)
    assert not nodes.is_lost("a")
    for _ in range(9):
        nodes.renew("b")
        nodes.tick()
    assert nodes.is_lost("a")


def test_what_pods_tolerate_is_counted_from_the_end_of_a_time_when_all_nodes_were_lost() -> None:
    """Or else the nodes that come back a little later than the first would lose their pods at once."""
    nodes = Nodes("a", "b")
    for _ in range(100):
        nodes.tick()
    nodes.renew("a")
    nodes.tick()
    ((name, lost_at),) = nodes.core.evicting()
    assert name == "b"
    assert nodes.now - lost_at <= 5


def test_when_all_nodes_are_lost_nothing_is_evicted() -> None:
    nodes = Nodes("a", "b", "c")
    nodes.tick()
    for _ in range(30):
        nodes.tick()
    assert nodes.is_lost("a")
    assert nodes.core.evicting() == []


def test_nodes_begin_to_lose_pods_one_by_one() -> None:
    healthy = ["h1", "h2", "h3"]
    nodes = Nodes("a", "b", "c", *healthy)
    nodes.tick()
    begun = []
    for _ in range(30):
        nodes.renew(*healthy)
        nodes.tick()
        begun.append(len(nodes.core.evicting()))
    assert begun[-1] == 3
    first = next(number for number, count in enumerate(begun) if count)
    assert begun[first : first + 5] == [1, 1, 2, 2, 3], "one in ten seconds"
    nodes.renew("a", *healthy)
    nodes.tick()
    assert [name for name, _ in nodes.core.evicting()] == ["b", "c"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["renew", "blind", "tick"])), max_size=60))
def test_a_node_is_never_lost_within_its_grace_of_a_renewal_seen_or_of_a_blind_spell(
    steps: list[tuple[str, str]],
) -> None:
    nodes = Nodes("a", "b", "c")
    nodes.tick()
    alive_at = dict.fromkeys(nodes.objects, nodes.now)
    for name, what in steps:
        if what == "renew":
            nodes.renew(name)
            alive_at[name] = nodes.now
        else:
            nodes.tick(7.0, fresh=what == "tick")
            if what == "blind":
                alive_at = dict.fromkeys(alive_at, nodes.now)
        for other, at in alive_at.items():
            if nodes.now - at <= GRACE and what == "tick":
                assert not nodes.is_lost(other)


@pytest.mark.parametrize(
    ("tolerations", "seconds"),
    [
        ([], 300),
        ([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}], 5),
        ([{"operator": "Exists"}], float("inf")),
        ([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoSchedule"}], 300),
        ([{"key": "other", "operator": "Exists"}], 300),
        ([{"key": UNREACHABLE, "operator": "Equal", "value": "x"}], 300),
    ],
)
def test_tolerations_say_how_long_a_pod_stays(tolerations: list[dict[str, Any]], seconds: float) -> None:
    assert toleration_seconds({"tolerations": tolerations}, 300) == seconds


def test_a_reborn_node_starts_with_its_whole_grace() -> None:
    nodes = Nodes("a", "b")
    nodes.tick()
    nodes.now += GRACE
    nodes.put(node("a", uid="another"))
    nodes.renew("b")
    nodes.tick(1)
    assert not nodes.is_lost("a")
