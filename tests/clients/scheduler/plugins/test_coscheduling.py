"""Coscheduling says in any story of its groups what a plain function says that looks at every member each time."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from ursa.clients.scheduler.framework.interface import Allow, Deny
from ursa.clients.scheduler.framework.shape import Shape
from ursa.clients.scheduler.pending import PendingPod, PodState
from ursa.clients.scheduler.plugins.coscheduling import MIN_LABEL, NAME_LABEL, Coscheduling
from ursa.clients.scheduler.template import Templates
from ursa.proto.objects import Object, encode

from ..objects import pod
from .cases import CASES
from .naive_gangs import Member, NaiveGangs

STEPS = 25
# Of every pod: the plugin does not look at it.
SHAPE = Shape(1, Templates().of(encode({"containers": [{"name": "a"}]})), "test", "x", {})
MAY_RUN = (PodState.ACTIVE, PodState.CLAIMING, PodState.WAITING, PodState.BINDING)


class Story:
    """Pods of a few groups, drawn from one number, and the same told to the plugin and to the reference."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.plugin, self.naive = Coscheduling(), NaiveGangs()
        self.waiting: dict[str, PendingPod] = {}
        self.gone: list[Object] = []
        self.made = 0

    def tell(self) -> None:
        """One more thing happens, and is answered alike."""
        acts = [self.come, self.come, self.claim, self.claim, self.permit, self.permit, self.run, self.leave, self.end]
        self.random.choice([*acts, self.give_up, self.fail])()
        for each in self.waiting.values():
            member = self.naive.find(each.uid)
            assert member is not None
            assert (self.plugin.pre_enqueue(each) == "") == self.naive.may_queue(member)
            may_run = [uid for uid, other in self.waiting.items() if other.state in MAY_RUN]
            assert self.plugin.needs(each) == self.naive.needs(member, may_run)

    def _new(self) -> tuple[PendingPod, Member]:
        """A pod; or one that went, and is seen again because its partition was set back."""
        self.made += 1
        obj = self.gone.pop() if self.gone and self.random.random() < 0.5 else self._drawn(f"p{self.made}")
        made = PendingPod(obj, SHAPE, self.made, 0.0)
        return made, Member(made.uid, (obj.namespace, obj.labels[NAME_LABEL]), obj.labels[MIN_LABEL], self.made)

    def _drawn(self, name: str) -> Object:
        obj = pod(name)
        obj.message.metadata.namespace = self.random.choice("xxy")
        obj.message.metadata.labels[NAME_LABEL] = self.random.choice("ab")
        obj.message.metadata.labels[MIN_LABEL] = self.random.choice(["1", "2", "3", "4", "0", ""])
        return obj

    def _some(self, *states: PodState) -> PendingPod | None:
        found = [each for each in self.waiting.values() if each.state in states]
        return self.random.choice(found) if found else None

    def come(self) -> None:
        made, member = self._new()
        self.plugin.arrived(made)
        self.naive.come(member)
        self.waiting[made.uid] = made
        assert made.order == self.naive.first[member.group]

    def claim(self) -> None:
        if (one := self._some(PodState.ACTIVE)) is not None:
            one.state = PodState.CLAIMING
            self._member(one).stands = "claiming"

    def permit(self) -> None:
        one = self._some(PodState.CLAIMING)
        if one is None:
            return
        member = self._member(one)
        said, expected = self.plugin.permit(one, 0), self.naive.permit(member)
        assert {Allow: "allow", Deny: "deny"}.get(type(said), "wait") == expected
        one.state = PodState.ACTIVE if expected == "deny" else PodState.WAITING
        if expected == "allow":
            held = [each.uid for each in self.naive.of(member.group) if each.stands == "held"]
            assert sorted(self.plugin.allows(one)) == sorted(held)
            self.naive.failures[member.group] = 0
            for uid in held:
                self.waiting[uid].state = PodState.BINDING

    def run(self) -> None:
        """One that was to be bound is; or one comes that runs already."""
        one = self._some(PodState.BINDING)
        if one is None:
            made, member = self._new()
            member.order = 0
            self.naive.come(member)
            self.plugin.runs(made.object)
        else:
            member = self._member(one)
            self.plugin.runs(self.waiting.pop(one.uid).object)
        member.stands = "bound"

    def leave(self) -> None:
        if (one := self._some(*PodState)) is not None:
            self.plugin.left(one.uid)
            self.naive.go(one.uid)
            self.gone.append(self.waiting.pop(one.uid).object)

    def end(self) -> None:
        bound = [each for each in self.naive.members if each.stands == "bound"]
        if bound:
            member = self.random.choice(bound)
            self.plugin.ended(member.uid)
            self.naive.go(member.uid)

    def give_up(self) -> None:
        if (one := self._some(PodState.ACTIVE, PodState.WAITING)) is not None:
            given_back = self.naive.give_up(self._member(one).group)
            assert sorted(self.plugin.gives_up(one)) == sorted(given_back)
            for uid in given_back:
                self.waiting[uid].state = PodState.ACTIVE

    def fail(self) -> None:
        if (one := self._some(PodState.ACTIVE)) is not None:
            group = self._member(one).group
            self.naive.failures[group] += 1
            failures, members = self.plugin.failed(one)
            waiting = [each.uid for each in self.naive.of(group) if each.stands != "bound"]
            assert (failures, sorted(each.uid for each in members)) == (self.naive.failures[group], sorted(waiting))

    def _member(self, one: PendingPod) -> Member:
        member = self.naive.find(one.uid)
        assert member is not None
        return member


@settings(max_examples=CASES, deadline=None)
@given(st.integers(0, 2**48).map(Story))
def test_any_story_of_groups(story: Story) -> None:
    for _ in range(STEPS):
        story.tell()


def test_who_left_while_its_group_gave_up_is_not_turned_away_when_it_comes_again() -> None:
    story = Story(1)
    plugin, other, obj = story.plugin, story._drawn("other"), story._drawn("one")
    for each in (other, obj):
        each.message.metadata.namespace = "x"
        each.message.metadata.labels.update({NAME_LABEL: "a", MIN_LABEL: "2"})
    waiting, one, again = (PendingPod(each, SHAPE, 1, 0.0) for each in (other, obj, obj))
    plugin.arrived(waiting)
    plugin.arrived(one)
    one.state = PodState.CLAIMING
    plugin.gives_up(waiting)
    plugin.left(one.uid)
    plugin.arrived(again)
    assert not isinstance(plugin.permit(again, 0), Deny)


def test_pods_of_no_group_are_let_through() -> None:
    plugin, story = Coscheduling(), Story(1)
    obj = story._drawn("alone")
    del obj.message.metadata.labels[NAME_LABEL]
    made = PendingPod(obj, SHAPE, 1, 0.0)
    plugin.arrived(made)
    assert not plugin.has_groups
    assert plugin.pre_enqueue(made) == ""
    assert isinstance(plugin.permit(made, 0), Allow)
    assert (plugin.allows(made), plugin.gives_up(made), plugin.needs(made), plugin.failed(made)) == (
        [],
        [],
        False,
        (0, []),
    )
