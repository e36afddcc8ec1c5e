"""How a recording names things: keys, selections, stores, and objects by their checksum."""

from __future__ import annotations

import zlib

from ...proto import ursa_pb2 as pb
from ...proto.kinds import BY_RESOURCE, MAIN_STORE, Scope
from .records import Selection


class Texts:
    """Texts that come again and again are kept once."""

    def __init__(self) -> None:
        self._shared: dict[str, str] = {}
        self._selections: dict[Selection, Selection] = {}

    def shared(self, text: str) -> str:
        return self._shared.setdefault(text, text)

    def key(self, resource: str, tenant: str, namespace: str, name: str) -> str:
        """The storage key. What the scope of the kind does not have is empty there, whatever was asked for."""
        kind = BY_RESOURCE.get(resource)
        if kind is not None and kind.scope is not Scope.NAMESPACE:
            namespace = ""
            tenant = tenant if kind.scope is Scope.TENANT else ""
        return self.shared(f"/registry/{resource}/{tenant}/{namespace}/{name}")

    def selection(self, message: pb.Selection) -> Selection:
        selection = Selection(
            self.shared(message.resource),
            message.tenant,
            message.namespace,
            message.label_selector,
            message.field_selector,
            message.metadata_only,
        )
        return self._selections.setdefault(selection, selection)


def crc_of(message: pb.Object) -> int:
    """Of the bytes as they are stored: an object is encoded deterministically, whoever does it."""
    return zlib.crc32(message.SerializeToString(deterministic=True))


def store_of(resource: str) -> str:
    """Where a partition that keeps its Events apart keeps the objects of this kind."""
    kind = BY_RESOURCE.get(resource)
    return MAIN_STORE if kind is None else kind.store
