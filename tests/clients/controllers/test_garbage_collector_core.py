"""The garbage collector's decisions, in whatever order events arrive: what is left is what Kubernetes says is left.

The core works against a real apiserver, over views that lag behind it, each kind by itself. Beside it stands a model
written from Kubernetes' documentation ("Garbage collection", "Owners and dependents"), which knows no events, no
finalizers and no order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.controllers.foreign_owners_core import Fate, fate_of
from ursa.clients.controllers.garbage_collector_core import GarbageCollectorCore
from ursa.clients.controllers.owners import Item
from ursa.clients.operations import delete_operation, patch_operation
from ursa.proto import ursa_pb2 as pb
from ursa.proto.errors import NotFound
from ursa.proto.kinds import Role, kind_of
from ursa.proto.objects import Object, ObjectKey
from ursa.proto.propagation import FOREGROUND

from ...partitions.conftest import Partition
from .lagging import View, complete_up_to

RESOURCES = ("configmaps", "secrets")
KINDS = {"configmaps": "ConfigMap", "secrets": "Secret"}
STEPS_MAX = 2000


# ----------------------------------------------------------------------------------------------------------- the model


@dataclass
class Model:
    """Who is there, and whom each refers to."""

    references: dict[str, list[str]]

    def delete(self, name: str, policy: str) -> None:
        if self.references.pop(name, None) is None:
            return
        if policy == "Orphan":
            for owners in self.references.values():
                if name in owners:
                    owners.remove(name)
        self._collect()

    def _collect(self) -> None:
        """An object whose owners are all gone goes; one that has another owner forgets those that are gone."""
        while True:
            gone = [
                name
                for name, owners in self.references.items()
                if owners and not any(owner in self.references for owner in owners)
            ]
            if not gone:
                break
            for name in gone:
                del self.references[name]
        for name, owners in self.references.items():
            self.references[name] = [owner for owner in owners if owner in self.references]


# ------------------------------------------------------------------------------------------------- the world it is in


class World:
    def __init__(self) -> None:
        self.partition = Partition(Role.TENANT)
        self.views: dict[str, View] = {}
        caches: dict[str, Any] = {}
        self.core = GarbageCollectorCore(Role.TENANT, caches, kind_of)
        for resource in RESOURCES:
            view = View(self.partition, resource, lambda event, resource=resource: self.core.observe(resource, event))
            self.views[resource], caches[resource] = view, view.objects
        self.due: list[Item] = []
        self.uids: dict[str, str] = {}
        self.places: dict[str, str] = {}
        self.asked: dict[Item, dict[Item, Fate]] = {}

    # ------------------------------------------------------------------------------------------------ what users do

    def create(self, name: str, resource: str) -> None:
        metadata = {"name": name, "tenant": "system", "namespace": "default"}
        created = self.partition.create({"apiVersion": "v1", "kind": KINDS[resource], "metadata": metadata})
        self.uids[name], self.places[name] = created.uid, resource

    def refer(self, name: str, owners: list[tuple[str, bool]]) -> None:
        references = [
            {
                "apiVersion": "v1",
                "kind": KINDS[self.places[owner]],
                "name": owner,
                "uid": self.uids[owner],
                "blockOwnerDeletion": blocking,
            }
            for owner, blocking in owners
        ]
        body = {"metadata": {"ownerReferences": references}}
        self.partition.do(patch_operation(self.places[name], key(name), body))

    def delete(self, name: str, policy: str) -> None:
        operation = delete_operation(self.places[name], key(name), propagation=policy)
        result = self.partition.write(operation)[0]
        assert not result.HasField("error") or result.error.reason == NotFound.reason

    def found(self, item: Item) -> Object | None:
        try:
            return self.partition.get(item.resource, item.key.name)
        except NotFound:
            return None

    def everything(self) -> dict[str, Object]:
        listed = [each for resource in RESOURCES for each in self.partition.list(resource).items]
        return {each.metadata.name: Object(each) for each in listed}

    # ------------------------------------------------------------------------------------------- one step at a time

    def steps(self) -> list[tuple[str, Any]]:
        """All that could happen next."""
        for view in self.views.values():
            view.gather()
        self.due += [item for item in self.core.take_due() if item not in self.due]
        possible: list[tuple[str, Any]] = [("deliver", name) for name, view in self.views.items() if view.pending]
        possible += [("ask", item) for item in self.due if item not in self.asked]
        return possible + [("decide", item) for item in self.asked]

    def step(self, what: str, about: Any) -> None:
        if what == "deliver":
            self.views[about].deliver()
        elif what == "ask":
            self.asked[about] = {each: fate_of(each, self.found(each)) for each in self.core.questions(about)}
        else:
            self._decide(about, self.asked.pop(about))

    def _decide(self, item: Item, fates: dict[Item, Fate]) -> None:
        self.due.remove(item)
        decision = self.core.decide(item, fates, complete_up_to(self.partition, *self.views.values()))
        again = decision.again
        if decision.operation is not None:
            before = self.everything()
            result = self.partition.write(decision.operation)[0]
            if not result.HasField("error"):
                check_write(before, self.everything(), decision.operation)
            elif result.error.reason != NotFound.reason:
                again = True
        if again:
            self.due.append(item)


def key(name: str) -> ObjectKey:
    return ObjectKey("system", "default", name)


def check_write(before: dict[str, Object], after: dict[str, Object], operation: pb.Operation) -> None:
    """Nothing is deleted that a living owner keeps, and nobody leaves before those whom they wait for."""
    if operation.HasField("delete"):
        for owner in before[operation.delete.target.name].owner_references:
            there = before.get(owner.name)
            assert there is None or there.uid != owner.uid or is_waiting(there)
        return
    for name in before:
        if name not in after and is_waiting(before[name]):
            held_by = [each for each in after.values() if blocks(each, before[name])]
            assert all(waits_for(each, before[name], after) for each in held_by)


def is_waiting(obj: Object) -> bool:
    return bool(obj.deletion_ms) and "foregroundDeletion" in obj.finalizers


def blocks(dependent: Object, owner: Object) -> bool:
    return any(each.uid == owner.uid and each.block_owner_deletion for each in dependent.owner_references)


def waits_for(obj: Object, owner: Object, there: dict[str, Object]) -> bool:
    """Whether it could only go after its owner, over some chain."""
    reached, chain = {obj.uid: obj}, [obj]
    while chain:
        each = chain.pop()
        if is_waiting(each):
            if blocks(owner, each):
                return True
            further = [other for other in there.values() if blocks(other, each) and other.uid not in reached]
            reached |= {other.uid: other for other in further}
            chain += further
    return False


# ------------------------------------------------------------------------------------------------------------ examples


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[str, list[tuple[int, bool]]]]:
    """Of each object its kind and its owners, by number; whether each of these must wait for it."""
    count = draw(st.integers(2, 6))
    owner = st.tuples(st.integers(0, count - 1), st.booleans())
    owners = st.lists(owner, max_size=3, unique_by=lambda each: each[0])
    graph = [(draw(st.sampled_from(RESOURCES)), draw(owners)) for _ in range(count)]
    return [(resource, [each for each in named if each[0] != number]) for number, (resource, named) in enumerate(graph)]


DELETIONS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["", "Background", "Foreground", "Orphan"])), min_size=1, max_size=3
)


def settle(world: World, data: st.DataObject) -> None:
    """In an order that is drawn for a while, and then in the simplest."""
    for number in range(STEPS_MAX):
        possible = world.steps()
        if not possible:
            return
        world.step(*(data.draw(st.sampled_from(possible)) if number < 40 else possible[0]))
    raise AssertionError(f"it does not come to rest: {world.due}")


@settings(max_examples=60)
@given(graph=graphs(), deletions=DELETIONS, data=st.data())
def test_what_is_left_is_what_kubernetes_leaves_whatever_the_order_of_events(
    graph: list[tuple[str, list[tuple[int, bool]]]], deletions: list[tuple[int, str]], data: st.DataObject
) -> None:
    world = World()
    model = Model({f"o{number}": [f"o{owner}" for owner, _ in owners] for number, (_, owners) in enumerate(graph)})
    for number, (resource, _) in enumerate(graph):
        world.create(f"o{number}", resource)
    for number, (_, owners) in enumerate(graph):
        world.refer(f"o{number}", [(f"o{owner}", blocking) for owner, blocking in owners])
    if data.draw(st.booleans(), label="views begin complete"):
        settle(world, data)
    for number, policy in deletions:
        name = f"o{number % len(graph)}"
        model.delete(name, policy)
        world.delete(name, policy)
        settle(world, data)
    left = {name: [owner.name for owner in obj.owner_references] for name, obj in world.everything().items()}
    assert left == model.references


@settings(max_examples=40)
@given(graph=graphs(), deletions=DELETIONS, data=st.data())
def test_deletions_on_top_of_one_another_come_to_rest_and_leave_nothing_half_deleted(
    graph: list[tuple[str, list[tuple[int, bool]]]], deletions: list[tuple[int, str]], data: st.DataObject
) -> None:
    """Which of them comes first decides what is left, but whatever is left lives, and so do all owners it has."""
    world = World()
    for number, (resource, _) in enumerate(graph):
        world.create(f"o{number}", resource)
    for number, (_, owners) in enumerate(graph):
        world.refer(f"o{number}", [(f"o{owner}", blocking) for owner, blocking in owners])
    for number, policy in deletions:
        world.delete(f"o{number % len(graph)}", policy)
        for _ in range(data.draw(st.integers(0, 5))):
            possible = world.steps()
            if possible:
                world.step(*data.draw(st.sampled_from(possible)))
    settle(world, data)
    left = world.everything()
    assert not any(obj.deletion_ms for obj in left.values())
    for obj in left.values():
        assert all(owner.name in left for owner in obj.owner_references)


def test_an_object_that_orphans_its_dependents_by_itself_does_so_when_it_goes_with_its_owner() -> None:
    world = World()
    for name in ("top", "middle", "bottom"):
        world.create(name, "configmaps")
    world.refer("middle", [("top", False)])
    world.refer("bottom", [("middle", False)])
    body = {"metadata": {"finalizers": ["orphan"]}}
    world.partition.do(patch_operation("configmaps", key("middle"), body))
    world.delete("top", "Background")
    settle_simply(world)
    assert {name: obj.owner_references for name, obj in world.everything().items()} == {"bottom": ()}


def test_an_owner_is_not_released_from_a_view_that_is_behind_its_marking() -> None:
    world = World()
    for name, resource in (("owner", "configmaps"), ("late", "secrets")):
        world.create(name, resource)
    world.refer("late", [("owner", True)])
    world.delete("owner", FOREGROUND)
    world.steps()
    while world.views["configmaps"].pending:  # The view of secrets has seen nothing yet.
        world.step("deliver", "configmaps")
    [item] = [about for what, about in world.steps() if what == "ask"]
    for _ in range(3):
        world.step("ask", item)
        world.step("decide", item)
    assert list(world.everything()) == ["owner", "late"]
    settle_simply(world)
    assert world.everything() == {}


def test_an_object_that_was_given_another_owner_meanwhile_is_not_deleted() -> None:
    world = World()
    for name in ("first", "second", "dependent"):
        world.create(name, "configmaps")
    world.refer("dependent", [("first", False)])
    settle_simply(world)
    world.delete("first", "Background")
    world.steps()
    while world.views["configmaps"].pending:
        world.step("deliver", "configmaps")
    [item] = [about for what, about in world.steps() if what == "ask"]
    world.step("ask", item)
    world.refer("dependent", [("second", False)])
    world.step("decide", item)
    settle_simply(world)
    assert list(world.everything()) == ["dependent", "second"]


def test_what_is_being_deleted_already_is_left_to_whoever_holds_it() -> None:
    world = World()
    for name in ("owner", "held"):
        world.create(name, "configmaps")
    world.refer("held", [("owner", False)])
    body = {"metadata": {"finalizers": ["ursa.dev/test"]}}
    world.partition.do(patch_operation("configmaps", key("held"), body))
    settle_simply(world)
    world.delete("held", "Background")
    world.delete("owner", "Background")
    settle_simply(world)
    assert list(world.everything()) == ["held"]


def settle_simply(world: World) -> None:
    for _ in range(STEPS_MAX):
        possible = world.steps()
        if not possible:
            return
        world.step(*possible[0])
    raise AssertionError(f"it does not come to rest: {world.due}")
