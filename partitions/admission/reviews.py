"""Plugins: rules of a cluster's own, in the process of the apiserver, asked about every write they are for.

A plugin is a synchronous object with a `name`, and says which writes it handles. Mutating plugins come before defaults
and validation of the kind, in their order, each seeing what the former made of the object; validating ones after, when
it is what would be stored. One that raises an ApiError refuses the write, in its words.

    class Labels:
        name = "labels"

        def handles(self, operation: str, kind: Kind) -> bool:
            return operation == "CREATE" and kind.kind == "Pod"

        def mutate(self, review: Review) -> Object | None:
            return review.obj.with_metadata(labels={**review.obj.labels, "team": review.caller.user})
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ...proto.kinds import Kind
from ...proto.objects import Object
from ...proto.sessions import Caller

CREATE, UPDATE, DELETE = "CREATE", "UPDATE", "DELETE"


@dataclass(frozen=True, slots=True)
class Review:
    """What is about to be written.

    `operation` is CREATE (`old` is None), UPDATE or DELETE (`obj` is None). `subresource` is "status", "binding" (then
    `obj` is the bound pod) or "". A patch, a scale and an apply are an update of the object, or a create.
    """

    operation: str
    kind: Kind
    subresource: str
    obj: Object | None
    old: Object | None
    caller: Caller
    dry_run: bool = False

    @property
    def subject(self) -> Object:
        """The object concerned, as it will be if it will be."""
        subject = self.obj or self.old
        assert subject is not None, "there is an object before the write or after it"
        return subject


class Plugin(Protocol):
    @property
    def name(self) -> str:
        """For metrics and messages."""

    def handles(self, operation: str, kind: Kind) -> bool:
        """Whether it is asked about these. Always the same answer: it is remembered."""


@runtime_checkable
class MutatingPlugin(Plugin, Protocol):
    def mutate(self, review: Review) -> Object | None:
        """Another object of the same name in place of `review.obj`; None: it is fine as it is.

        Raises:
            ApiError: the write is refused.
        """


@runtime_checkable
class ValidatingPlugin(Plugin, Protocol):
    def validate(self, review: Review) -> None:
        """Raises ApiError: the write is refused."""
