"""What Coscheduling says, as a plain function would of a list of members. No caches, no sets of held: each question
looks at everybody.

After the README of https://github.com/kubernetes-sigs/scheduler-plugins, pkg/coscheduling: a member is turned away
while there are fewer than min-available; one whose node is found waits until so many have theirs; if they do not come
together, all that wait are rejected.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Member:
    """`stands`: waiting, claiming, held or bound. `condemned`: its group gave up while its claim was on the way."""

    uid: str
    group: tuple[str, str]
    least: str
    order: int
    stands: str = "waiting"
    condemned: bool = False


@dataclass
class NaiveGangs:
    members: list[Member] = field(default_factory=list)
    # By group, as long as it has members.
    first: dict[tuple[str, str], int] = field(default_factory=dict)
    failures: dict[tuple[str, str], int] = field(default_factory=dict)

    def of(self, group: tuple[str, str]) -> list[Member]:
        return [member for member in self.members if member.group == group]

    def find(self, uid: str) -> Member | None:
        return next((member for member in self.members if member.uid == uid), None)

    def come(self, member: Member) -> None:
        if not self.of(member.group):
            self.first[member.group] = member.order
            self.failures[member.group] = 0
        self.members.append(member)

    def go(self, uid: str) -> None:
        self.members = [member for member in self.members if member.uid != uid]

    def may_queue(self, member: Member) -> bool:
        least = least_of(member)
        return least is not None and len(self.of(member.group)) >= least

    def permit(self, member: Member) -> str:
        """allow, wait or deny."""
        if member.condemned:
            member.condemned, member.stands = False, "waiting"
            return "deny"
        member.stands = "held"
        have = [each for each in self.of(member.group) if each.stands in ("held", "bound")]
        return "allow" if len(have) >= (least_of(member) or 0) else "wait"

    def give_up(self, group: tuple[str, str]) -> list[str]:
        given_back = []
        for member in self.of(group):
            if member.stands == "held":
                member.stands = "waiting"
                given_back.append(member.uid)
            elif member.stands == "claiming":
                member.condemned = True
        return given_back

    def needs(self, member: Member, may_run: list[str]) -> bool:
        """`may_run`: of those that wait, who may still be placed."""
        others = [
            each
            for each in self.of(member.group)
            if each.stands == "bound" or (each.uid in may_run and each is not member and not each.condemned)
        ]
        return len(others) < (least_of(member) or 0)


def least_of(member: Member) -> int | None:
    return int(member.least) if member.least in ("1", "2", "3", "4") else None
