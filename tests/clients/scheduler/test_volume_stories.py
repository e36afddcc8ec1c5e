"""Pods with claims, whatever messages are lost and whenever the scheduler dies: each gets its volumes where it runs.

The world plays the controller: it binds what a scheduler has chosen, and makes what it has asked for, now and then.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.operations import patch_operation
from ursa.clients.scheduler.actions import ForVolumes
from ursa.clients.scheduler.framework.shape import Shape
from ursa.clients.scheduler.options import SchedulerOptions
from ursa.clients.scheduler.pending import PodState
from ursa.clients.volumes.reading import read_claim, read_volume
from ursa.clients.volumes.writing import claim_volume
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object
from ursa.proto.volumes import BIND_COMPLETED, CLAIMS, SELECTED_NODE, SELECTED_PARTITION, STORAGE_CLASSES, VOLUMES

from ..controllers.volume_objects import ZONE, claim, storage_class, volume
from ..worlds import SEEDS
from .objects import node, pod
from .rig import HOME, Rig

ZONES = {"rp-1": "a", "rp-2": "b"}
RESOURCES = {"PersistentVolumeClaim": CLAIMS, "PersistentVolume": VOLUMES, "StorageClass": STORAGE_CLASSES}


class World(Rig):
    def __init__(self, options: SchedulerOptions | None = None) -> None:
        super().__init__(options)
        for partition, zone in ZONES.items():
            self.add_node(partition, node("same", labels={ZONE: zone}))

    def create(self, *objects: Object) -> None:
        for obj in objects:
            result = self.apply(HOME, pb.Operation(resource=RESOURCES[obj.kind], create=pb.Create(object=obj.message)))
            assert not result.HasField("error"), result
            if obj.kind == "PersistentVolume":
                self.patch(VOLUMES, obj, {"status": {"phase": "Available"}}, "status")

    def patch(self, resource: str, obj: Object, body: dict[str, Any], subresource: str = "") -> None:
        result = self.apply(HOME, patch_operation(resource, obj.key, body, subresource=subresource))
        assert not result.HasField("error"), result

    def all(self, resource: str) -> dict[str, Object]:
        return {each.name: each for each in self.partitions[HOME].objects(resource)}

    def control(self) -> None:
        """What the controller does: a step for every claim that it can do something for."""
        for each in self.all(CLAIMS).values():
            if each.spec.get("volumeName"):
                continue
            where = (each.annotations.get(SELECTED_PARTITION, ""), each.annotations.get(SELECTED_NODE))
            given = [
                found.name
                for found in self.all(VOLUMES).values()
                if found.spec.get("claimRef", {}).get("uid") == each.uid
            ]
            if given:
                bound = {"metadata": {"annotations": {BIND_COMPLETED: "yes"}}, "spec": {"volumeName": given[0]}}
                self.patch(CLAIMS, each, bound)
            elif where[1] and each.spec["storageClassName"] == "hollow":
                reference = {"namespace": "default", "name": each.name, "uid": each.uid}
                self.create(volume(f"made-{each.name}", "1Gi", "hollow", zone=ZONES[where[0]], claimRef=reference))

    def settle(self, rounds: int = 60) -> None:
        for _ in range(rounds):
            super().settle(1)
            self.control()
        super().settle(20)

    def check(self) -> None:
        """All pods are bound, with all their volumes, each of one claim, where they can be used."""
        claims, volumes = self.all(CLAIMS), self.all(VOLUMES)
        names = [each.spec.get("volumeName") for each in claims.values()]
        assert len(dict.fromkeys(names)) == len(names)
        for each in self.pods().values():
            zone = ZONES[each.spec["resourcePartition"]]
            for source in each.spec["volumes"]:
                bound = claims[source["persistentVolumeClaim"]["claimName"]]
                used = volumes[bound.spec["volumeName"]]
                assert used.spec["claimRef"]["uid"] == bound.uid
                assert used.labels[ZONE] == zone


def using(name: str, *claims: str, cpu: str = "100m") -> Object:
    volumes = [{"name": each, "persistentVolumeClaim": {"claimName": each}} for each in claims]
    return pod(name, {"cpu": cpu}, volumes=volumes)


CLASSES = (storage_class("local", waits=True), storage_class("hollow", waits=True, provisioner="ursa.dev/hollow"))
FAULTS = ("carry_out", "answer", "lose_answer", "refuse_link", "send", "deliver", "step", "step", "control", "time")


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_each_pod_gets_its_volumes_where_it_runs_whatever_gets_lost(seed: int) -> None:
    random, world = Random(seed), World()
    world.create(*CLASSES, *(volume(f"v{n}", "1Gi", "local", zone="ab"[n % 2]) for n in range(4)))
    for number in range(4):
        world.create(claim(f"l{number}", class_name="local"), claim(f"h{number}", class_name="hollow"))
        world.add_pod(using(f"p{number}", f"l{number}", f"h{number}"))
    for _ in range(random.randint(0, 120)):
        fault, partition = random.choice(FAULTS), random.choice([HOME, "rp-1", "rp-2"])
        if fault == "deliver":
            world.deliver(*random.choice(list(world.feeds)))
        elif fault == "time":
            world.now += 1.0
        elif fault in ("step", "control"):
            getattr(world, fault)()
        else:
            getattr(world, fault)(partition)
        if random.random() < 0.02:
            world.restart_scheduler()
    world.settle()
    assert len(world.bound) == 4
    world.check()


# -------------------------------------------------------------------------------------------------------------- hints


@pytest.mark.parametrize(
    ("news", "woken"),
    [
        (claim("c0", class_name="local"), ["p0"]),
        (claim("stranger", class_name="local"), []),
        (volume("w", "1Gi", "local"), ["p1", "p2"]),
        (volume("w", "1Gi", "other"), []),
        (volume("w", "1Gi", "other", claimRef={"namespace": "default", "name": "c1"}), ["p1"]),
        (storage_class("late", waits=True), ["p3"]),
        (storage_class("stranger"), []),
    ],
)
def test_news_of_volumes_wake_only_those_that_they_may_help(
    news: Object, woken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    world.create(CLASSES[0], claim("c1", class_name="local"), claim("c2", class_name="local"))
    world.create(claim("c3", class_name="late"))
    for number in range(4):
        world.add_pod(using(f"p{number}", f"c{number}"))
    world.add_pod(pod("large", {"cpu": "64"}))
    Rig.settle(world, 8)
    assert world.core.queue.unschedulable == 5
    asked: list[str] = []

    def note(shape: Shape) -> bool:
        asked.extend(f"p{each[1:]}" for each in shape.template.claims)
        return False

    monkeypatch.setattr(world.core._cycles, "_fits_somewhere", note)
    world.core._cycles._leftovers_at = world.now + 1000.0
    world.create(news)
    Rig.settle(world, 3)
    assert list(dict.fromkeys(asked)) == woken


# ----------------------------------------------------------------------------------------------- what is taken back


def test_a_pod_that_goes_gives_its_volume_to_the_next_at_once() -> None:
    world = World()
    world.create(CLASSES[0], volume("v", "1Gi", "local", zone="a"))
    for number in range(2):
        world.create(claim(f"c{number}", class_name="local"))
        world.add_pod(using(f"p{number}", f"c{number}"))
    while not any(pod.state is PodState.CLAIMING for pod in world.core.pods.values()):
        world.deliver_all()
        world.step()
    [first] = [pod.object.name for pod in world.core.pods.values() if pod.state is PodState.CLAIMING]
    world.delete_pod(first)
    world.settle()
    other = "p1" if first == "p0" else "p0"
    assert [each.name for each in world.pods().values()] == [other]
    world.check()


def test_a_volume_that_another_was_given_meanwhile_is_not_taken_from_it() -> None:
    world = World()
    world.create(CLASSES[0], volume("v", "1Gi", "local", zone="a"), claim("c", class_name="local"))
    world.add_pod(using("p", "c"))
    while not world.outbox["rp-1"]:
        world.deliver_all()
        world.step()
    reference = {"namespace": "default", "name": "somebody", "uid": "else"}
    world.patch(VOLUMES, world.all(VOLUMES)["v"], {"spec": {"claimRef": reference}})
    world.settle(10)
    assert world.claims(next(iter(world.pods()))) == [], "its node is given up"
    assert any("volume" in each for each in world.reports)
    world.create(volume("w", "1Gi", "local", zone="b"))
    world.settle()
    world.check()
    assert world.all(VOLUMES)["v"].spec["claimRef"] == reference


def test_a_node_is_given_up_when_nobody_makes_the_volume_in_time() -> None:
    profile = {"pluginConfig": [{"name": "VolumeBinding", "args": {"bindTimeoutSeconds": 5}}]}
    world = World(SchedulerOptions(profiles=(profile,)))
    world.create(storage_class("theirs", waits=True, provisioner="example.com/disks"), claim("c", class_name="theirs"))
    uid = world.add_pod(using("p", "c"))

    def go_on(until: float) -> None:
        """As one that sleeps while there is nothing to do; with a bound, for one that never does."""
        for _ in range(100):
            news = [name for name in list(world.feeds) if world.deliver(*name)]
            world.step()
            sent = [name for name in world.outbox if world.send(name)]
            for name in sent:
                world.carry_out(name)
                world.answer(name)
            if not (news or sent):
                world.now = max(world.now, min(world.core.next_deadline(), until))
            if world.now >= until:
                return
        raise AssertionError("it never sleeps")

    go_on(4.0)
    assert len(world.claims(uid)) == 1
    go_on(5.9)
    assert world.claims(uid) == [], "its node is another's for the moment"
    assert any("after 5 s it is not ready to be bound" in each for each in world.reports)
    assert not world.bound


def test_of_two_that_give_one_volume_away_at_once_one_is_refused() -> None:
    world = World()
    world.create(volume("v"), claim("c0"), claim("c1"))
    seen = read_volume(world.all(VOLUMES)["v"])
    answers = [
        world.apply(HOME, claim_volume(seen, read_claim(each), by_controller=True))
        for each in world.all(CLAIMS).values()
    ]
    assert [each.error.reason for each in answers] == ["", "Conflict"]
    assert world.all(VOLUMES)["v"].spec["claimRef"]["name"] == "c0"


def two_with_one_claim(class_name: str) -> tuple[World, ForVolumes]:
    """Both pods have their node, and one of them is about to see to the claim that they share."""
    world = World()
    wanted = claim("c", class_name=class_name, accessModes=["ReadWriteMany"])
    made = volume("v", "1Gi", "local", zone="a", accessModes=["ReadWriteMany"])
    world.create(*CLASSES, wanted, *([made] if class_name == "local" else []))
    for number in range(2):
        world.add_pod(using(f"p{number}", "c"))
    for _ in range(20):
        if sum(pod.state is PodState.WAITING for pod in world.core.pods.values()) == 2:
            break
        world.deliver_all()
        world.step()
        for name in ("rp-1", "rp-2"):
            world.send(name)
            world.carry_out(name)
            world.answer(name)
    world.step()
    [writes] = [each for each in world.outbox[HOME] if isinstance(each, ForVolumes)]
    return world, writes


@pytest.mark.parametrize("class_name", ["local", "hollow"])
def test_of_pods_that_share_a_claim_one_sees_to_it_and_the_others_wait(class_name: str) -> None:
    world, _ = two_with_one_claim(class_name)
    world.settle()
    assert len(world.bound) == 2
    assert world.reports == [], "nobody was refused what another was doing"
    world.check()


@pytest.mark.parametrize("class_name", ["local", "hollow"])
@pytest.mark.parametrize("deleted", [True, False])
def test_when_that_one_fails_another_of_them_sees_to_it(class_name: str, deleted: bool) -> None:
    world, writes = two_with_one_claim(class_name)
    resource, name = (VOLUMES, "v") if class_name == "local" else (CLAIMS, "c")
    world.patch(resource, world.all(resource)[name], {"metadata": {"labels": {"changed": "meanwhile"}}})
    if deleted:
        world.delete_pod(writes.pod.object.name)
    world.deliver_all()
    world.step()
    world.send(HOME)
    world.carry_out(HOME)
    world.answer(HOME)
    world.step()  # Neither the change nor the refusal is news any more when the one who was refused gives up.
    world.settle()
    assert len(world.bound) == (1 if deleted else 2)
    world.check()


@pytest.mark.parametrize("class_name", ["local", "hollow"])
def test_what_is_assumed_of_a_claim_is_so_until_the_last_of_its_pods_has_let_go(class_name: str) -> None:
    world, writes = two_with_one_claim(class_name)
    volumes = world.core.nodes.volumes

    def assumed() -> tuple[list[bool], str]:
        known = volumes.claim(writes.claim)
        assert known is not None
        return [each.is_for(known) for each in volumes.naming(known)], known.selected.node

    before, (first, last) = assumed(), list(world.core.pods)
    volumes.withdraw(first)
    assert assumed() == before
    volumes.withdraw(last)
    assert assumed() != before


def test_a_preemptor_evicts_nobody_where_its_volumes_cannot_be() -> None:
    world = World()
    world.create(CLASSES[0], volume("v", "1Gi", "local", zone="b"), claim("c", class_name="local"))
    for number in range(2):
        world.add_pod(pod(f"low{number}", {"cpu": "4"}))
    world.settle(8)
    assert len(world.bound) == 2
    high = using("high", "c", cpu="4")
    world.add_pod(high.with_spec({**high.spec, "priority": 10}))
    world.settle()
    pods = {each.name: each for each in world.pods().values()}
    assert pods["high"].spec["resourcePartition"] == "rp-2"
    assert len(pods) == 2, "and only the one that was there is gone"


@given(st.permutations(["claims", "volumes", "classes"]))
@settings(max_examples=6, deadline=None)
def test_nothing_is_decided_before_all_has_been_seen(order: list[str]) -> None:
    world = World()
    world.create(CLASSES[0], volume("v", "1Gi", "local", zone="b"), claim("c", class_name="local"))
    world.add_pod(using("p", "c"))
    for _ in range(3):
        for name in [("rp-1", "nodes"), ("rp-1", "placements"), (HOME, "pods")]:
            while world.deliver(*name):
                pass
        world.step()
    resources = {"claims": CLAIMS, "volumes": VOLUMES, "classes": STORAGE_CLASSES}
    for each in order:
        assert not world.reports
        assert world.core.queue.backing_off == 1
        while world.deliver(HOME, resources[each]):
            pass
        world.step()
    world.settle()
    world.check()
