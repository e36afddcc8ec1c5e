"""A placement stays when its pod's tenant moves, and becomes the other tenant partition's."""

from __future__ import annotations

from ursa.clients.controllers.placement_release_core import PlacementReleaseCore
from ursa.clients.informer import Event, EventType
from ursa.proto.objects import Object, ObjectKey, decode
from ursa.proto.tenants import MOVED_TO

from .test_placement_release_core import GRACE_SECONDS, placement, pod

ADDED, MODIFIED, DELETED = EventType.ADDED, EventType.MODIFIED, EventType.DELETED
WEB = pod("web", "n1", phase="Running", uid="u1")


class Bench:
    """A pod of tp-1 that runs, and its placement."""

    def __init__(self) -> None:
        self.placements: dict[ObjectKey, Object] = {}
        self.shown: dict[str, Object] = {}
        self.core = PlacementReleaseCore(self.placements, GRACE_SECONDS, lambda _: self.shown)
        self.placed("tp-1", ADDED)
        self.see("tp-1", ADDED)

    def placed(self, tenant_partition: str, kind: EventType = MODIFIED) -> None:
        made = placement(WEB, tenant_partition, uid="own-u1")
        self.placements[made.key] = made
        self.core.placement_event(Event(kind, made, None), 0.0)

    def see(self, partition: str, kind: EventType, of: Object = WEB, *, missing: bool = False) -> None:
        if kind is DELETED:
            self.shown.pop(partition, None)
        else:
            self.shown[partition] = of
        self.core.pod_event(partition, Event(kind, of, None, missing=missing))

    def done(self) -> tuple[list[str], list[str]]:
        """What is released, and whose what is moved becomes."""
        released = [each.delete.target.name for each in self.core.take_releases(10)]
        return released, [decode(each.update.object.spec)["tenantPartition"] for each in self.core.take_moves(10)]


def moved(to: str) -> Object:
    return WEB.with_metadata(annotations={MOVED_TO: to})


def test_where_two_show_the_pod_the_first_speaks_until_it_has_it_no_more() -> None:
    bench = Bench()
    bench.see("tp-2", ADDED)
    assert bench.done() == ([], [])
    bench.see("tp-1", DELETED, moved("tp-2"))
    assert bench.done() == ([], ["tp-2"])


def test_a_move_that_is_undone_changes_nothing() -> None:
    bench = Bench()
    bench.see("tp-2", ADDED)
    bench.see("tp-2", DELETED, moved("tp-1"))
    assert bench.done() == ([], [])


def test_where_the_other_was_not_heard_yet_it_is_asked() -> None:
    bench = Bench()
    bench.see("tp-1", DELETED, moved("tp-2"))
    assert bench.done() == ([], [])
    [question] = bench.core.questions(1.0, ["tp-2"], 10)
    assert question.tenant_partition == "tp-2"
    assert not bench.core.answer(question, WEB, "tp-2")
    assert bench.done() == ([], ["tp-2"])


def test_what_a_view_does_not_show_any_more_is_asked_about_and_kept_where_it_has_moved() -> None:
    bench = Bench()
    bench.see("tp-1", DELETED, missing=True)
    assert bench.done() == ([], [])
    [question] = bench.core.questions(1.0, ["tp-1"], 10)
    assert not bench.core.answer(question, WEB, "tp-2")
    assert bench.done() == ([], ["tp-2"])


def test_what_has_ended_where_it_moved_to_is_released() -> None:
    bench = Bench()
    bench.see("tp-1", DELETED, moved("tp-2"))
    [question] = bench.core.questions(1.0, ["tp-2"], 10)
    assert bench.core.answer(question, None, "tp-2")
    assert bench.done() == (["u1"], [])


def test_a_placement_that_was_set_back_to_before_the_move_is_told_again() -> None:
    bench = Bench()
    bench.see("tp-2", ADDED)
    bench.see("tp-1", DELETED, moved("tp-2"))
    assert bench.done() == ([], ["tp-2"])
    bench.placed("tp-2")
    assert bench.done() == ([], [])
    bench.placed("tp-1")
    assert bench.done() == ([], ["tp-2"])
