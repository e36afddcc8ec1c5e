"""The links of a run: each joins a component's life to a partition, and may be lost or silent for several reasons."""

from __future__ import annotations

from collections.abc import Iterator

from ...clients.transport.memory import MemoryTransport
from ...proto.sessions import Service

# As the clients' own keepalive (clients/transport): a link that has been silent for so long is given up.
KEEPALIVE_SECONDS = 20.0
DOWN = "the partition is down"


class SimulatedLink:
    """`component`: the part at its end, as the plan calls it."""

    def __init__(self, component: str, partition: str, transport: MemoryTransport) -> None:
        self.component = component
        self.partition = partition
        self.transport = transport
        self.frozen = False  # It leads to an apiserver that stands still.
        self._cut_by: dict[str, None] = {}
        self._silenced_by: dict[str, tuple[bool, bool]] = {}
        self._service: Service | None = None

    def cut(self, reason: str) -> None:
        self._cut_by[reason] = None
        self.transport.cut()

    def mend(self, reason: str, service: Service | None = None) -> None:
        """`service`: the partition has started again."""
        if service is not None:
            self._service, self.frozen = service, False
        self._cut_by.pop(reason, None)
        if not self._cut_by:
            self.transport.heal(self._service)

    def lead_to(self, service: Service) -> None:
        """Another apiserver of the partition. What is under way is lost."""
        self._service = service
        self.transport.cut()
        if not self._cut_by:
            self.transport.heal(service)

    def silence(self, reason: str, *, requests: bool, replies: bool) -> None:
        self._silenced_by[reason] = (requests, replies)
        self._apply_silence()

    def speak(self, reason: str) -> None:
        if self._silenced_by.pop(reason, None) is not None:
            self._apply_silence()

    def heal(self, latency_seconds: tuple[float, float]) -> None:
        """Whatever was wrong with it, but for a partition that is still down."""
        self._silenced_by.clear()
        self._apply_silence()
        self.transport.latency_seconds = latency_seconds
        for reason in [each for each in self._cut_by if each != DOWN]:
            self.mend(reason)

    @property
    def silent(self) -> bool:
        return bool(self._silenced_by)

    def _apply_silence(self) -> None:
        ways = self._silenced_by.values()
        self.transport.silence(
            requests=any(requests for requests, _ in ways), replies=any(replies for _, replies in ways)
        )


class Links:
    """All links that there are at this time, in the order in which they were made."""

    def __init__(self) -> None:
        self._links: dict[SimulatedLink, None] = {}

    def add(self, link: SimulatedLink) -> None:
        self._links[link] = None

    def remove_of(self, component: str) -> None:
        """A life is over: its ends are cut, and gone."""
        for link in list(self.between(component, "*")):
            link.transport.cut()
            del self._links[link]

    def between(self, component: str, partition: str) -> Iterator[SimulatedLink]:
        """`*`: any."""
        for link in self._links:
            if component in ("*", link.component) and partition in ("*", link.partition):
                yield link
