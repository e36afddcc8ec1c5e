"""After a restart nobody knows how long a lease had still to live, and it must not end early for that."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from ursa.storage.leases import Leases
from ursa.storage.log_store import LogStore

from .bare_stores import Clients
from .registry import Scenario


@contextmanager
def all_leases_end_at_a_restart() -> Iterator[None]:
    """A store that is opened takes its leases for over, unless they are renewed first."""
    real = LogStore._load_leases

    def load(self: LogStore) -> Leases:
        leases = real(self)
        for lease in list(leases._untimed):
            del leases._untimed[lease]
            leases._leases[lease].ends_at = 0.0
            heapq.heappush(leases._ends, (0.0, lease))
        return leases

    with mock.patch.object(LogStore, "_load_leases", load):
        yield


SCENARIOS = (
    Scenario(
        "S23",
        "leases end early after a restart",
        "etcd-io/etcd#2660, etcd-io/etcd#2508, etcd-io/etcd#12528, etcd-io/etcd#14096",
        "No lease ends before its last acknowledged renewal and its time to live, whatever was restarted meanwhile.",
        Clients(),
        "a store that is opened takes its leases for over, unless they are renewed first",
        all_leases_end_at_a_restart,
        ("Leases",),
        1,
    ),
)
