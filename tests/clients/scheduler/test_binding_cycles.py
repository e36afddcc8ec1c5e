"""Bind plugins, and PreBind plugins that do I/O: asked in their turn, within their time, and what fails is undone."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from ursa.clients.scheduler import SchedulerOptions
from ursa.clients.scheduler.actions import Bind
from ursa.clients.scheduler.binding_cycles import ALL_SKIPPED, Binding
from ursa.clients.scheduler.framework.interface import (
    SKIP,
    AsyncPreBindPlugin,
    BindPlugin,
    PostBindPlugin,
    PreBindPlugin,
    ReservePlugin,
    Skip,
)
from ursa.clients.scheduler.hooks import CycleEnd
from ursa.clients.scheduler.pending import PendingPod
from ursa.clients.scheduler.profiles import profiles_of
from ursa.proto.errors import ApiError

from ..worlds import run
from .objects import node, pod
from .rig import HOME, Rig
from .test_scheduler_end_to_end import Region, eventually

Doing = Callable[[Binding], Awaitable[Any]]
# What is noted, in order; and what `First` does with the pods to come, one after the other.
NOTED: list[str] = []
TO_DO: list[Doing] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    NOTED.clear()
    TO_DO.clear()


class First(ReservePlugin, BindPlugin, PostBindPlugin):
    name = "First"
    seconds_max = 5.0

    def reserve(self, pod: PendingPod, slot: int) -> str:
        NOTED.append("reserve")
        return ""

    def unreserve(self, pod: PendingPod, slot: int) -> None:
        NOTED.append("unreserve")

    async def bind(self, pod: PendingPod, binding: Binding) -> str | Skip:
        NOTED.append("first")
        return await (TO_DO.pop(0) if TO_DO else takes)(binding)  # type: ignore[no-any-return]

    def post_bind(self, pod: PendingPod, slot: int) -> None:
        NOTED.append("post_bind")


class Second(BindPlugin):
    name = "Second"

    async def bind(self, pod: PendingPod, binding: Binding) -> str | Skip:
        NOTED.append("second")
        return SKIP


class Here(PreBindPlugin):
    name = "Here"

    def pre_bind(self, pod: PendingPod, slot: int) -> str:
        NOTED.append("here")
        return ""


class Away(AsyncPreBindPlugin):
    """Writes into the pod, and reads that back."""

    name = "Away"

    async def pre_bind(self, pod: PendingPod, binding: Binding) -> str:
        client = binding.clients.for_partition("tp-1")
        body = {"metadata": {"annotations": {"example.com/node": f"{binding.resource_partition}/{binding.node}"}}}
        await client.patch("pods", pod.object.key, body)
        NOTED.append("away")
        return "" if not TO_DO or TO_DO[0] is not objects else await TO_DO.pop(0)(binding)  # type: ignore[no-any-return]


async def takes(binding: Binding) -> str:
    """Binds the pod, whose claim holds, and nobody has bound it before."""
    client = binding.clients.for_partition(binding.resource_partition)
    [placement] = [each for each in (await client.list("placements.ursa.dev")).items if each.name == binding.pod.uid]
    assert placement.spec["node"] == binding.node
    home = binding.clients.for_partition("tp-1")
    assert not (await home.get("pods", binding.pod.object.key)).spec.get("nodeName")
    await binding.bind()
    assert (await home.get("pods", binding.pod.object.key)).spec["nodeName"] == binding.node
    return ""


async def says_so_only(binding: Binding) -> str:
    return ""


async def skips(binding: Binding) -> Skip:
    return SKIP


async def objects(binding: Binding) -> str:
    return "not today"


async def raises(binding: Binding) -> str:
    raise RuntimeError("broken")


async def hangs(binding: Binding) -> str:
    await trio.sleep_forever()
    raise AssertionError


async def answers_nonsense(binding: Binding) -> None:
    return None


async def binds_and_fails(binding: Binding) -> str:
    await binding.bind()
    return "changed my mind"


def options(*bind: str, pre_bind: tuple[str, ...] = ()) -> SchedulerOptions:
    enabled = [{"name": name} for name in bind]
    plugins = {
        "reserve": {"enabled": [{"name": "First"}]},
        "postBind": {"enabled": [{"name": "First"}]},
        "preBind": {"enabled": [{"name": name} for name in pre_bind]},
        "bind": {"disabled": [{"name": "*"}], "enabled": enabled},
    }
    return SchedulerOptions(profiles=({"plugins": plugins},), plugins=(First, Second, Here, Away))


async def with_scheduler(test: Callable[[Region], Awaitable[None]], scheduler: SchedulerOptions) -> None:
    async with Region().open() as region:
        await region.create_nodes(1, cpu="4")
        await region.start_scheduler("tp-1", options=scheduler)
        await trio.sleep(1)
        await test(region)


async def wait_said(region: Region, says: str) -> None:
    async def said() -> bool:
        return any(event.rest["message"] == says for event in (await client.list("events")).items)

    client = region.clients.tenant_clients["tp-1"]
    await eventually(said)


def test_the_default_binder_needs_no_cycle() -> None:
    rig = Rig(options("DefaultBinder", pre_bind=("Here",)))
    rig.add_node("rp-1", node("a"))
    rig.add_pod(pod("p"))
    rig.settle(10)
    assert NOTED == ["reserve", "here", "post_bind"]
    assert not rig.core.bindings.hooks.cycles


def test_a_bind_plugin_takes_a_pod_whose_claim_holds_and_it_is_bound_once() -> None:
    async def main(region: Region) -> None:
        before = region.stores["tp-1"].head
        await region.create_pods("tp-1", "p", 1)
        await region.wait_bound("tp-1", 1)
        await trio.sleep(5)
        assert NOTED == ["reserve", "first", "post_bind"]
        assert region.stores["tp-1"].head - before == 2, "created and bound, and nothing more"
        bound = await region.nodes_of_pods("tp-1")
        assert await region.claims() == {uid: [where] for uid, where in bound.items()}

    run(lambda: with_scheduler(main, options("First", "Second", "DefaultBinder")))


@pytest.mark.parametrize("first", [skips, says_so_only])
def test_what_a_plugin_skips_the_next_one_binds_and_what_it_only_takes_the_scheduler_does(first: Doing) -> None:
    async def main(region: Region) -> None:
        TO_DO.append(first)
        await region.create_pods("tp-1", "p", 1)
        await region.wait_bound("tp-1", 1)
        await trio.sleep(1)
        assert NOTED[1:-1] == (["first", "second"] if first is skips else ["first"])
        assert NOTED[-1] == "post_bind"

    run(lambda: with_scheduler(main, options("First", "Second", "DefaultBinder")))


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        (objects, "plugin First: not today"),
        (raises, "plugin First raised RuntimeError: broken"),
        (hangs, "plugin First has not answered bind within 5 s"),
        (answers_nonsense, "plugin First must answer bind with a text, not with None"),
        (skips, ALL_SKIPPED),
    ],
)
def test_what_fails_is_undone_said_and_tried_again_while_others_go_on(fails: Doing, says: str) -> None:
    async def main(region: Region) -> None:
        TO_DO.append(fails)
        await region.create_pods("tp-1", "bad", 1)
        await eventually(lambda: _noted("first"))
        await region.create_pods("tp-1", "good", 2)
        await region.wait_bound("tp-1", 2)
        if fails is hangs:
            assert len(await region.claims()) == 3, "as long as it may be bound its claim holds"
        await eventually(lambda: _noted("unreserve"), 20)
        assert NOTED.count("unreserve") == 1
        assert len(await region.claims()) == 2, "the claim is given up, and the pod backs off"
        await wait_said(region, says)
        await region.wait_bound("tp-1", 3)
        bound = await region.nodes_of_pods("tp-1")
        assert await region.claims() == {uid: [where] for uid, where in bound.items()}

    binders = ("First", "Second") if fails is skips else ("First", "DefaultBinder")
    run(lambda: with_scheduler(main, options(*binders)))


async def _noted(what: str) -> bool:
    return what in NOTED


def test_a_pod_that_a_plugin_has_bound_is_bound_whatever_it_says_then() -> None:
    async def main(region: Region) -> None:
        TO_DO.append(binds_and_fails)
        await region.create_pods("tp-1", "p", 1)
        await region.wait_bound("tp-1", 1)
        await trio.sleep(20)
        assert NOTED == ["reserve", "first", "post_bind"]
        await wait_said(region, "plugin First: changed my mind")
        assert len(await region.claims()) == 1

    run(lambda: with_scheduler(main, options("First", "DefaultBinder")))


def test_a_binding_without_an_answer_is_never_taken_for_a_failure() -> None:
    """The plugin is out of time while its binding is on the way: the pod may run, so its claim stays."""

    async def main(region: Region) -> None:
        link = region.links["scheduler-tp-1", "tp-1"]

        async def binds_into_the_dark(binding: Binding) -> str:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(binding.bind)
                await trio.sleep(0.0015)  # On its way.
                link.cut()
            return ""

        TO_DO.append(binds_into_the_dark)
        await region.create_pods("tp-1", "p", 1)
        await eventually(lambda: _noted("first"))
        await trio.sleep(10)
        assert len(await region.claims()) == 1
        link.heal()
        await region.wait_bound("tp-1", 1)
        await trio.sleep(5)
        assert NOTED == ["reserve", "first", "post_bind"]
        bound = await region.nodes_of_pods("tp-1")
        assert await region.claims() == {uid: [where] for uid, where in bound.items()}

    run(lambda: with_scheduler(main, options("First", "DefaultBinder")))


def test_what_the_home_partition_refuses_a_plugin_is_told_and_the_claim_is_given_up() -> None:
    async def main(region: Region) -> None:
        async def too_late(binding: Binding) -> str:
            client = binding.clients.for_partition("tp-1")
            await client.delete("pods", binding.pod.object.key, grace_seconds=0)
            with pytest.raises(ApiError):
                await binding.bind()
            return ""

        TO_DO.append(too_late)
        await region.create_pods("tp-1", "p", 1)
        await eventually(lambda: _noted("unreserve"))
        assert not await region.claims()

    run(lambda: with_scheduler(main, options("First", "DefaultBinder")))


@pytest.mark.parametrize("objecting", [False, True])
def test_pre_bind_plugins_come_before_in_order_and_may_do_io(objecting: bool) -> None:
    async def main(region: Region) -> None:
        if objecting:
            TO_DO.append(objects)
        await region.create_pods("tp-1", "p", 1)
        await region.wait_bound("tp-1", 1)
        await trio.sleep(1)
        if objecting:
            assert NOTED[:4] == ["reserve", "here", "away", "unreserve"]
        assert NOTED[-4:] == ["reserve", "here", "away", "post_bind"]
        assert NOTED.count("away") == 1 + objecting
        [made] = (await region.clients.tenant_clients["tp-1"].list("pods")).items
        where = f"{made.spec['resourcePartition']}/{made.spec['nodeName']}"
        assert made.annotations["example.com/node"] == where
        if objecting:
            await wait_said(region, "plugin Away: not today")

    run(lambda: with_scheduler(main, options("DefaultBinder", pre_bind=("Here", "Away"))))


# ----------------------------------------------------------------------------------------------- what happens meanwhile


@pytest.fixture
def rig() -> Rig:
    """A pod is in its binding cycle."""
    rig = Rig(options("First"))
    rig.add_node("rp-2", node("a", cpu="1"))
    rig.add_pod(pod("p", {"cpu": "1"}))
    rig.deliver_all()
    rig.step()
    rig.send("rp-2")
    rig.carry_out("rp-2")
    rig.answer("rp-2")
    rig.step()
    assert len(rig.cycles) == 1
    return rig


def test_a_pod_deleted_meanwhile_gives_its_claim_back(rig: Rig) -> None:
    rig.delete_pod("p")
    rig.deliver_all()
    rig.end_cycle(0, "fails")
    rig.settle(10)
    assert (rig.core.pods, rig.partitions["rp-2"].objects("placements.ursa.dev")) == ({}, [])


def test_a_pod_whose_partition_is_gone_meanwhile_goes_elsewhere(rig: Rig) -> None:
    rig.add_node("rp-1", node("b", cpu="1"))
    rig.remove_partition("rp-2")
    rig.end_cycle(0, "succeeds")
    rig.settle(20)
    assert list(rig.bound.values()) == [("rp-1", "b")]


def test_a_cycle_of_a_history_that_is_gone_binds_nothing(rig: Rig) -> None:
    rig.core.home_set_back("another")
    rig.end_cycle(0, "succeeds")
    rig.step()
    assert not [action for action in rig.outbox[HOME] if isinstance(action, Bind)]
    assert rig.send("rp-2"), "its claim is given up"


def test_a_plugin_that_failed_for_a_pod_bound_by_others_costs_no_claim(rig: Rig) -> None:
    [bind] = rig.cycles
    assert not rig.apply(HOME, bind.operation()).HasField("error")
    rig.deliver_all()
    rig.core.cycle_ended(rig.cycles.pop(), CycleEnd("I have lost sight of it"), rig.now)
    rig.settle(10)
    assert len(rig.partitions["rp-2"].objects("placements.ursa.dev")) == 1
    assert not rig.core.pods


# -------------------------------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("bind", "says"),
    [
        ({"disabled": [{"name": "*"}]}, r"plugins.bind: no plugin binds pods: enable DefaultBinder"),
        (
            {"enabled": [{"name": "First"}]},
            r"plugins.bind: DefaultBinder binds every pod, and First after it is never asked: say bind: "
            + re.escape("{disabled: [{name: '*'}], enabled: [{name: First}, {name: DefaultBinder}]}"),
        ),
    ],
)
def test_a_profile_in_which_a_binder_has_no_meaning_is_refused(bind: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        profiles_of(SchedulerOptions(profiles=({"plugins": {"bind": bind}},), plugins=(First,)))
