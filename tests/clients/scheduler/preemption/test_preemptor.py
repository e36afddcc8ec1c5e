"""A pod of higher priority gets its room: against real partitions, with every message in the hands of the test."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from ursa.clients.scheduler.actions import Evict
from ursa.proto import ursa_pb2 as pb
from ursa.proto.objects import Object

from ..objects import node, pod
from ..rig import BUDGETS, HOME, Rig


def rig_with(*nodes: tuple[str, str, str]) -> Rig:
    """(partition, name, cpu)"""
    rig = Rig()
    for partition, name, cpu in nodes:
        rig.add_node(partition, node(name, cpu=cpu))
    return rig


def add(rig: Rig, name: str, cpu: str, priority: int, app: str = "", **spec: Any) -> str:
    made = pod(name, {"cpu": cpu}, priority=priority, **spec)
    if app:
        made.message.metadata.labels["app"] = app
    return rig.add_pod(made)


def run(rig: Rig, rounds: int = 12) -> None:
    """Everything is delivered and answered; no pod ends."""
    for _ in range(rounds):
        rig.deliver_all()
        rig.step()
        for name in rig.outbox:
            while rig.send(name):
                rig.carry_out(name)
                rig.answer(name)
        rig.now += 0.1
    rig.deliver_all()


def end(rig: Rig) -> list[str]:
    ended = rig.end_deleted()
    rig.collect_garbage()
    run(rig)
    return ended


def leaving(rig: Rig) -> list[str]:
    return sorted(pod.name for pod in rig.pods().values() if pod.deletion_ms)


def where(rig: Rig) -> dict[str, str]:
    return {pod.name: pod.spec["nodeName"] for pod in rig.pods().values() if pod.spec.get("nodeName")}


def status_of(rig: Rig, uid: str) -> dict[str, Any]:
    return dict(rig.pods()[uid].status)


def test_a_pod_of_higher_priority_gets_the_room_of_the_lowest() -> None:
    rig = rig_with(("rp-1", "a", "2"), ("rp-2", "b", "2"))
    for name, priority in (("low", 1), ("middle", 2), ("low-too", 1), ("middle-too", 2)):
        add(rig, name, "1", priority)
    run(rig)
    assert len(where(rig)) == 4
    uid = add(rig, "high", "1", 9)
    run(rig)
    [victim] = leaving(rig)
    assert victim.startswith("low")
    assert "high" not in where(rig)
    assert status_of(rig, uid)["nominatedNodeName"] == where(rig)[victim]
    node_of_victim = where(rig)[victim]
    assert end(rig) == [victim]
    assert where(rig)["high"] == node_of_victim


def test_nobody_is_evicted_twice_for_one_pod_while_the_first_is_leaving() -> None:
    rig = rig_with(("rp-1", "a", "1"), ("rp-1", "b", "1"))
    add(rig, "one", "1", 0)
    add(rig, "two", "1", 0)
    run(rig)
    add(rig, "high", "1", 9)
    run(rig, 50)
    assert len(leaving(rig)) == 1
    rig.now += 100.0
    run(rig, 50)
    assert len(leaving(rig)) == 1


def test_room_that_is_being_made_is_not_taken_by_pods_of_lower_or_equal_priority() -> None:
    rig = rig_with(("rp-1", "a", "2"))
    add(rig, "big", "2", 0)
    run(rig)
    add(rig, "high", "1500m", 9)
    run(rig)
    rig.end_deleted()
    rig.collect_garbage()
    for name in range(3):
        add(rig, f"small-{name}", "500m", 9 if name else 5)
    run(rig)
    assert where(rig)["high"] == "a"
    assert len(where(rig)) == 2, "and one small one beside it"


def test_a_pod_of_higher_priority_still_may_take_the_room_that_is_being_made() -> None:
    rig = rig_with(("rp-1", "a", "2"))
    add(rig, "one", "1", 0)
    add(rig, "two", "1", 0)
    run(rig)
    add(rig, "high", "2", 5)
    run(rig)
    [first, second] = leaving(rig)
    rig.apply(HOME, force_delete(first))
    rig.collect_garbage()
    run(rig)
    add(rig, "higher", "1", 9)
    run(rig)
    assert where(rig).get("higher") == "a"
    end(rig)
    assert "high" not in where(rig)
    assert second not in where(rig)


def force_delete(name: str) -> pb.Operation:
    operation = pb.Operation(resource="pods")
    operation.delete.target.CopyFrom(pb.GetRequest(resource="pods", tenant="acme", namespace="default", name=name))
    operation.delete.grace_seconds = 0
    return operation


def test_a_pod_that_never_preempts_waits() -> None:
    rig = rig_with(("rp-1", "a", "1"))
    add(rig, "low", "1", 0)
    run(rig)
    add(rig, "patient", "1", 9, preemptionPolicy="Never")
    run(rig)
    assert not leaving(rig)


def test_pods_of_equal_priority_and_of_other_partitions_are_left_alone() -> None:
    from ..objects import placement

    rig = rig_with(("rp-1", "a", "1"), ("rp-1", "b", "1"))
    rig.place_for_other("rp-1", placement("theirs", "a", {"cpu": 1000, "pods": 1}))
    add(rig, "ours", "1", 9)
    run(rig)
    add(rig, "high", "1", 9)
    run(rig)
    assert not leaving(rig)
    assert rig.placement("rp-1", "theirs") == "a"


def test_a_budget_is_heeded_where_another_node_will_do() -> None:
    rig = rig_with(("rp-1", "a", "1"), ("rp-1", "b", "1"))
    add(rig, "guarded", "1", 0, app="guarded")
    add(rig, "free", "1", 5)
    budget = Object.from_dict(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "b", "tenant": "acme", "namespace": "default"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "guarded"}}},
        }
    )
    rig.apply(HOME, pb.Operation(resource=BUDGETS, create=pb.Create(object=budget.message)))
    run(rig)
    add(rig, "high", "1", 9)
    run(rig)
    assert leaving(rig) == ["free"]


def test_a_pod_that_goes_while_room_is_made_for_it_holds_none() -> None:
    rig = rig_with(("rp-1", "a", "1"))
    add(rig, "low", "1", 0)
    run(rig)
    add(rig, "high", "1", 9)
    run(rig)
    rig.delete_pod("high")
    run(rig)
    add(rig, "next", "1", 0)
    end(rig)
    assert where(rig) == {"next": "a"}
    assert not rig.core.preemptor.nominations


def test_a_new_scheduler_counts_on_what_is_leaving_and_evicts_nobody_else() -> None:
    rig = rig_with(("rp-1", "a", "1"), ("rp-1", "b", "1"))
    add(rig, "one", "1", 0)
    add(rig, "two", "1", 0)
    run(rig)
    add(rig, "high", "1", 9)
    run(rig)
    rig.restart_scheduler()
    run(rig, 30)
    assert len(leaving(rig)) == 1
    end(rig)
    assert "high" in where(rig)


def test_who_could_evict_nobody_is_looked_at_again_when_others_run() -> None:
    rig = rig_with(("rp-1", "a", "1"))
    add(rig, "same", "1", 5)
    run(rig)
    add(rig, "high", "1", 5)
    run(rig)
    assert not leaving(rig)
    rig.add_node("rp-2", node("b", cpu="500m"))
    view = rig.feeds[HOME, "bound"]
    tell, view.deliver = view.deliver, lambda: False  # type: ignore[method-assign]
    add(rig, "low", "500m", 0)
    run(rig)
    add(rig, "small", "500m", 4)
    run(rig)
    assert (where(rig)["low"], leaving(rig)) == ("b", []), "nobody knows of it yet"
    view.deliver = tell  # type: ignore[method-assign]
    run(rig, 20)
    assert leaving(rig) == ["low"]


def test_room_that_is_free_already_is_not_counted_once_more() -> None:
    """The placement of a pod is gone, and home has not said yet that the pod is."""
    rig = rig_with(("rp-1", "a", "2"))
    add(rig, "one", "1", 0)
    add(rig, "two", "1", 0)
    run(rig)
    add(rig, "first", "2", 9)
    run(rig)
    running = rig.core.preemptor.running
    one = next(uid for uid, found in rig.pods().items() if found.name == "one")
    rig.remove_placement("rp-1", one)
    rig.deliver("rp-1", "placements")
    slot = rig.core.nodes.slot("rp-1", "a")
    assert {pod.uid: bool(pod.charges) for pod in running.on(slot)}[one] is False


def test_an_eviction_that_got_no_answer_is_repeated() -> None:
    rig = rig_with(("rp-1", "a", "1"))
    add(rig, "low", "1", 0)
    run(rig)
    add(rig, "high", "1", 9)
    rig.deliver_all()
    while not any(isinstance(action, Evict) for action in rig.outbox[HOME]):
        rig.step()
        rig.deliver_all()
    rig.send(HOME)
    rig.refuse_link(HOME)
    run(rig, 30)
    assert leaving(rig) == ["low"]


@example([("1", 0), ("1", 0), ("2", 0), ("500m", 0), ("500m", 1)], [True])
@example([*[("500m", 0)] * 4, ("1", 0), ("1", 2), ("500m", 1), ("2", 2)], [])
@example([("2", 0), *[("500m", 0)] * 4, ("500m", 1), ("500m", 1)], [])
@given(
    st.lists(st.tuples(st.sampled_from(["500m", "1", "2"]), st.integers(0, 3)), min_size=1, max_size=9),
    st.lists(st.booleans(), max_size=9),
)
def test_nobody_waits_behind_pods_of_lower_priority_that_hold_its_room(
    pods: list[tuple[str, int]], restarts: list[bool]
) -> None:
    rig = rig_with(("rp-1", "a", "2"), ("rp-2", "b", "2"))
    for number, (cpu, priority) in enumerate(pods):
        add(rig, f"p{number}", cpu, priority)
        run(rig, 4)
        if number < len(restarts) and restarts[number]:
            rig.restart_scheduler()
    for _ in range(12):
        run(rig, 6)
        if not rig.end_deleted():
            break
        rig.collect_garbage()
    run(rig, 10)
    bound = where(rig)
    units = {"500m": 500, "1": 1000, "2": 2000}
    for number, (cpu, priority) in enumerate(pods):
        name = f"p{number}"
        if name in bound or name not in {pod.name for pod in rig.pods().values()}:
            continue
        for each in ("a", "b"):
            held = sum(
                units[pods[int(n[1:])][0]] for n, at in bound.items() if at == each and pods[int(n[1:])][1] >= priority
            )
            assert held + units[cpu] > 2000, f"{name} could have had room on {each}"
