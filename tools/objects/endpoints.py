"""What `ursa get` shows of Services, Endpoints and EndpointSlices, as kubectl does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...proto.objects import Object

# Of a hundred, the first few: the line shall stay one.
SHOWN_MAX = 3


def service_ports(obj: Object, _now_ms: int) -> str:
    return ",".join(f"{port.get('port')}/{port.get('protocol')}" for port in obj.spec.get("ports") or ()) or "<none>"


def service_selector(obj: Object, _now_ms: int) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((obj.spec.get("selector") or {}).items())) or "<none>"


def endpoints_of(obj: Object, _now_ms: int) -> str:
    """Only those that are ready."""
    return _few([each for subset in obj.rest.get("subsets") or () for each in _joined(subset)])


def slice_ports(obj: Object, _now_ms: int) -> str:
    return _few([str(port.get("port") or "*") for port in obj.rest.get("ports") or ()], empty="<unset>")


def slice_endpoints(obj: Object, _now_ms: int) -> str:
    """All of them, whatever their conditions."""
    found = [address for endpoint in obj.rest.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    return _few(found, empty="<unset>")


def _joined(subset: Any) -> Iterable[str]:
    ports = subset.get("ports") or ()
    for address in subset.get("addresses") or ():
        ip = str(address.get("ip"))
        host = f"[{ip}]" if ":" in ip else ip
        yield from [f"{host}:{port.get('port')}" for port in ports] or [ip]


def _few(texts: Sequence[str], empty: str = "<none>") -> str:
    if not texts:
        return empty
    more = f" + {len(texts) - SHOWN_MAX} more..." if len(texts) > SHOWN_MAX else ""
    return ",".join(texts[:SHOWN_MAX]) + more
