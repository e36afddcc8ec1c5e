"""The cluster addresses of the Services of a partition: who has which, and which is next.

    fd01::1 ... fd01::ffff                      for those who ask for an address of their own
    fd01::1:0 ... fd01::ffff:ffff:ffff:fffe     handed out, at the place that follows from the Service's uid

So an address that was let go is nobody else's next, and Services of different partitions have different ones: a tenant
that moves to another partition takes his along. Only those that were asked for may meet there; then two have one. All
of this is worked out again from the Services when a partition is opened: nothing is stored beside them. Pods have
addresses in fd00::/16 (their kubelets give them), so all of a cluster is IPv6.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

# As large as Kubernetes allows.
SERVICE_NETWORK = IPv6Network("fd01::/64")
# The last two are left out, as are networks' ends elsewhere; the first is the network's own.
_OFFSET_MAX = SERVICE_NETWORK.num_addresses - 2
# Below this one has to be asked for by name, as long as there are others.
ASKED_FOR_MAX = 0xFFFF

_BASE = int(SERVICE_NETWORK.network_address)


class ServiceAddresses:
    """Follows the newest (staged) state; owned by the apiserver's loop. `last`: the place of the last that it has."""

    def __init__(self, last: int = _OFFSET_MAX) -> None:
        self._last = last
        self._holders: dict[int, str] = {}  # Of each address, by its place in the network, the key of the Service.
        self._held: dict[str, int] = {}
        # Who has one that another one had already, as a tenant that has moved here may.
        self._others: dict[int, list[str]] = {}

    def holder(self, address: str) -> str:
        """The key of the Service that has it; empty: nobody."""
        return self._holders.get(_offset(address), "")

    @property
    def is_full(self) -> bool:
        return len(self._holders) >= self._last

    def free_address(self, uid: str) -> str:
        """For the Service of this uid; there is one. It is not taken until it is observed."""
        assert not self.is_full, "asked for before"
        span = self._last - ASKED_FOR_MAX
        start = int(uid.replace("-", ""), 16)
        for step in range(min(span, len(self._holders) + 1)):
            offset = ASKED_FOR_MAX + 1 + (start + step) % span
            if offset not in self._holders:
                return str(IPv6Address(_BASE + offset))
        offset = next(each for each in range(1, ASKED_FOR_MAX + 1) if each not in self._holders)
        return str(IPv6Address(_BASE + offset))

    def observe(self, key: str, address: str) -> None:
        """The Service `key` has this address now; empty, or a word like None: it has none."""
        offset = _offset(address)
        held = self._held.get(key, 0)
        if held == offset:
            return
        if held:
            del self._held[key]
            if self._holders[held] == key:
                others = self._others.get(held)
                if others:
                    self._holders[held] = others.pop(0)
                else:
                    del self._holders[held]
            else:
                self._others[held].remove(key)
            if not self._others.get(held, True):
                del self._others[held]
        if offset:
            self._held[key] = offset
            if offset in self._holders:
                self._others.setdefault(offset, []).append(key)
            else:
                self._holders[offset] = key


def read_address(text: str) -> IPv6Address | None:
    """None: it is none that a Service can have."""
    try:
        address = IPv6Address(text)
    except ValueError:
        return None
    return address if 0 < int(address) - _BASE <= _OFFSET_MAX else None


def _offset(text: str) -> int:
    address = read_address(text)
    return 0 if address is None else int(address) - _BASE
