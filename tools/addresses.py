"""Addresses as a person writes them: `127.0.0.1:7001`, and `tp-1=127.0.0.1:7001` for a partition's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from ..proto.errors import InputError

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class Address(NamedTuple):
    """Where something listens. Port 0: let the system choose one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, flag: str = "an address") -> Address:
        """Read `HOST:PORT`; an IPv6 host stands in brackets.

        Raises:
            InputError: it is none; the message names `flag`.
        """
        host, colon, port = text.strip().rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not port.isdecimal() or int(port) > 65535:
            raise InputError(f"{flag} must look like 127.0.0.1:7001, not {text!r}")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def require_label(name: str, flag: str) -> str:
    """Check that the name of a partition, a cluster or the like is a DNS label.

    Raises:
        InputError: it is not.
    """
    if not _LABEL.fullmatch(name):
        raise InputError(f"{flag}: {name!r} is no DNS label; use lower-case letters, digits and '-', like tp-1")
    return name


def parse_partitions(texts: Iterable[str], flag: str) -> dict[str, str]:
    """Read `NAME=HOST:PORT`, many times, into addresses by name.

    Raises:
        InputError: one is malformed, has port 0, or a name comes twice.
    """
    addresses: dict[str, str] = {}
    for text in texts:
        name, equals, where = text.partition("=")
        if not equals:
            raise InputError(f"{flag} must look like tp-1=127.0.0.1:7001, not {text!r}")
        require_label(name, flag)
        address = Address.parse(where, flag)
        if address.port == 0:
            raise InputError(f"{flag}: {name} needs the port its apiserver listens on, not 0")
        if name in addresses:
            raise InputError(f"{flag}: {name} is given twice; leave one of them out")
        addresses[name] = str(address)
    return addresses
