"""When a client last heard from its partition, and why it does not hear from it now.

A partition says something on every watch stream each five seconds, if only that there is nothing new. One that has not
for three times as long is missed. That is said once in the log, with the reason, and once more when it is over; how
long ago each partition was last heard is a metric, and what `ursa top partitions` and `/readyz?verbose` show.

Nothing else is concluded from it. A partition that is missed is still one: see `Informer.staleness_seconds` for what
may be concluded from a view.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from weakref import WeakKeyDictionary, ref

import trio
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..proto.errors import UrsaError, WrongPartition

MISSED_SECONDS = 15.0


class Contact:
    """Of one client with its partition. Its streams tell what they hear, and that they were lost."""

    def __init__(self, partition: str, log: logging.Logger) -> None:
        self.partition = partition
        self.followed = False  # The client watches something there, or wants to.
        self.heard_at = -math.inf
        self.problem = ""  # Why there is no stream; empty while there is, or none is wanted.
        self._began_at = self._moved_at = trio.current_time()
        self._clock = trio.lowlevel.current_clock()
        self._log = log
        self._said = False
        self._turned = trio.Event()

    @property
    def staleness_seconds(self) -> float:
        """Since the partition last said anything; infinity: it never has. From any thread."""
        return self._clock.current_time() - self.heard_at

    @property
    def missed(self) -> bool:
        """It is followed, and has not been heard of for too long. From any thread."""
        return self.followed and self._clock.current_time() - max(self.heard_at, self._began_at) >= MISSED_SECONDS

    @property
    def said(self) -> bool:
        """That it is missed stands in the log, and it has not been heard of since."""
        return self._said

    async def wait_turned(self) -> None:
        """Until `said` may have changed."""
        await self._turned.wait()

    def heard(self) -> None:
        self.heard_at = self._clock.current_time()
        self.problem = ""
        if self._said:
            self._log.warning("%s answers again", self.partition)
            self._say(said=False)

    def moved(self) -> None:
        """The partition is elsewhere now: what may be wrong there is another story, and takes its own time."""
        self._moved_at = trio.current_time()
        self._say(said=False)

    def lost(self, error: UrsaError) -> None:
        """A stream was lost, or could not be opened. Where another partition answers, no time will
        change that, and it is said at once."""
        self.problem = " ".join(str(error).split()).removeprefix(f"{self.partition}: ")
        # What was on its way at the old address fails when it is left; that says nothing of the new one.
        overdue = self.missed and trio.current_time() - self._moved_at >= MISSED_SECONDS
        if not self._said and (overdue or isinstance(error, WrongPartition)):
            since = f"for {self.staleness_seconds:.0f} s" if self.heard_at > -math.inf else "so far"
            self._log.warning("%s is missed, nothing was heard of it %s: %s", self.partition, since, self.problem)
            self._say(said=True)

    def _say(self, *, said: bool) -> None:
        self._said = said
        self._turned.set()
        self._turned = trio.Event()


class Seen(NamedTuple):
    """What there is to say of one contact. `seconds` infinity: nothing was heard so far."""

    partition: str
    seconds: float
    missed: bool
    problem: str

    def __str__(self) -> str:
        heard = "never heard of so far" if self.seconds == math.inf else f"heard of {self.seconds:.1f} s ago"
        return f"{self.partition} {heard}" + (f": {self.problem}" if self.problem else "")


class Contacts(Collector):
    """Those of all clients that share a registry, and their metric. Use `contacts_of`."""

    def __init__(self) -> None:
        self._contacts: dict[str, Contact] = {}

    def add(self, contact: Contact) -> None:
        self._contacts[contact.partition] = contact

    def discard(self, contact: Contact) -> None:
        if self._contacts.get(contact.partition) is contact:
            del self._contacts[contact.partition]

    def seen(self) -> Iterator[Seen]:
        """Of the partitions that are followed, by name. From any thread."""
        for name, each in sorted(dict(self._contacts).items()):
            if each.followed:
                yield Seen(name, each.staleness_seconds, each.missed, each.problem)

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "client_partition_staleness_seconds",
            "Since a partition that is followed last said anything.",
            labels=["partition"],
        )
        for each in self.seen():
            family.add_metric([each.partition], each.seconds)
        yield family


# The registry keeps them. Kept from here, too, they would keep a registry that they lead to for good.
_made: WeakKeyDictionary[CollectorRegistry, ref[Contacts]] = WeakKeyDictionary()


def contacts_of(registry: CollectorRegistry) -> Contacts:
    """The one of this registry, made once."""
    known = _made.get(registry)
    contacts = None if known is None else known()
    if contacts is None:
        contacts = Contacts()
        _made[registry] = ref(contacts)
        registry.register(contacts)
    return contacts
