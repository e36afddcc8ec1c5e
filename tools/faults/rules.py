"""What is asked of a cluster's links, as data: the faults in force, and what they make of each link. No I/O.

A link leads from a component (a scheduler, a controller manager, a host of hollow nodes) to a partition; nothing else
connects the parts of a cluster. Requests go one way over it, and their answers the other:

    cut scheduler-tp-1 rp-2              both ways
    cut scheduler-tp-1 rp-2, one way     what scheduler-tp-1 sends is lost: requests
    cut rp-2 scheduler-tp-1, one way     what rp-2 sends is lost: answers

The same words mean the same in every runtime. In the plans of the simulation (tools/simulation/plan.py) a link that is
cut here is called `silence`, one that is refused `cut`, and `delay` is `delay`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple, Self

from ...clients.transport.conditions import CLEAR, FREE, Conditions, Way
from ...proto.errors import InputError

CUT: Final = "cut"
DELAY: Final = "delay"
FREEZE: Final = "freeze"
KINDS: Final = (CUT, DELAY, FREEZE)

# Instead of a name: all that there are.
ALL: Final = "*"
# A message that takes longer than a client's longest patience is lost.
DELAY_SECONDS_MAX = 60.0


class Names(NamedTuple):
    """Of the parts of a cluster, between which there are links."""

    components: Sequence[str]
    partitions: Sequence[str]

    def links(self, source: str, target: str) -> list[tuple[str, str]]:
        """The ends of all links between the two, in the order of `source` and `target`; `*` stands for all parts.

        Raises:
            InputError: there is no such part, or no link; the message lists what there is.
        """
        for name in (source, target):
            if name not in (ALL, *self.components, *self.partitions):
                known = ", ".join([*self.components, *self.partitions])
                raise InputError(f"there is no {name} in this cluster; there are {known}")
        if source == ALL == target:
            return [(component, partition) for component in self.components for partition in self.partitions]
        found = [
            ends
            for component in self.components
            for partition in self.partitions
            for ends in ((component, partition), (partition, component))
            if source in (ALL, ends[0]) and target in (ALL, ends[1])
        ]
        if not found:
            raise InputError(
                f"nothing links {source} and {target}: links lead from a component to a partition, so name one of "
                f"{', '.join(self.components)} and one of {', '.join(self.partitions)}"
            )
        return found


@dataclass(frozen=True)
class Fault:
    """One fault of one link, from what `source` sends on. With `one_way`, of nothing else.

    Args:
        kind: `cut`: what is sent is lost and nobody is told; with `refuse`, connections are reset. `delay`: by
            `seconds`. `freeze`: held in its order until it is healed.
        since_ms: when it began, in milliseconds since 1970.

    Raises:
        InputError: a value that cannot be.
    """

    kind: str
    source: str
    target: str
    one_way: bool = False
    refuse: bool = False
    seconds: float = 0.0
    since_ms: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"there is no fault {self.kind!r}: use one of {', '.join(KINDS)}")
        if self.kind == DELAY and not 0 < self.seconds <= DELAY_SECONDS_MAX:
            raise InputError(f"a delay is more than 0 and at most {DELAY_SECONDS_MAX:g} seconds, not {self.seconds:g}")
        if self.refuse and self.one_way:
            raise InputError("a connection is refused both ways or not at all: leave out one of the two")

    @property
    def _way(self) -> Way:
        return Way(self.seconds if self.kind == DELAY else 0.0, self.kind == FREEZE, self.kind == CUT)

    def is_between(self, one: str, other: str) -> bool:
        """Whichever way."""
        return (self.source, self.target) in ((one, other), (other, one))

    def replaces(self, other: Fault) -> bool:
        """The same fault of the same link, from the same side."""
        return (self.kind, self.source, self.target) == (other.kind, other.source, other.target)

    def conditions(self, component: str) -> Conditions:
        """Of the link of the component that is one of its ends."""
        if self.refuse:
            return Conditions(refused=True)
        way, other = self._way, FREE if self.one_way else self._way
        return Conditions(way, other) if self.source == component else Conditions(other, way)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Raises TypeError or InputError where they are no fault's."""
        return cls(**values)

    @property
    def what(self) -> str:
        """Without its ends."""
        how = f" by {self.seconds:g} s" if self.kind == DELAY else ""
        return f"{self.kind}{how}{', refused' if self.refuse else ''}{', one way' if self.one_way else ''}"

    def __str__(self) -> str:
        return f"{self.source} {self.target}: {self.what}"


def conditions_of(component: str, faults: Iterable[Fault]) -> dict[str, Conditions]:
    """Of a component's links, by partition; those that nothing is wrong with are left out."""
    found: dict[str, Conditions] = {}
    for fault in faults:
        if component in (fault.source, fault.target):
            partition = fault.target if fault.source == component else fault.source
            found[partition] = found.get(partition, CLEAR).and_also(fault.conditions(component))
    return found


def added(faults: Sequence[Fault], new: Sequence[Fault]) -> list[Fault]:
    """With the new ones in force, each in the place of one that it replaces."""
    return [each for each in faults if not any(one.replaces(each) for one in new)] + list(new)


def healed(faults: Sequence[Fault], links: Sequence[tuple[str, str]]) -> list[Fault]:
    """Without those of these links."""
    return [each for each in faults if not any(each.is_between(*ends) for ends in links)]
