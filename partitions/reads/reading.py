"""What a read may ask for: a revision, as Kubernetes' `resourceVersion` and `resourceVersionMatch` say it."""

from __future__ import annotations

import re
from collections.abc import Callable

from ...proto import ursa_pb2 as pb
from ...proto.errors import ApiError, BadRequest, Cause, Expired, Invalid, NotFound
from ...proto.kinds import Role
from .. import frames
from ..history import Histories, History
from ..requests.request import Phase, Request
from ..selections import served_kind
from ..writes.subresources import check_subresource, scale_of

# Revisions have 63 bits at most, which are 19 digits.
_REVISION = re.compile(r"[0-9]{1,19}")
_SHOWN_CHARACTERS = 40


def parse_revision(text: str) -> int | None:
    """None: unset; 0: any.

    Raises:
        BadRequest: no revision.
    """
    if not text:
        return None
    if _REVISION.fullmatch(text) is None:
        shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
        message = f"resource_version {shown!r} is no revision: take it from a reply, or leave it empty"
        raise BadRequest(message, causes=[Cause("resourceVersion", message)])
    return int(text)


def check_incarnation(history: History, incarnation: str) -> None:
    """Raises Expired: a revision, of that incarnation, says nothing about this one."""
    if incarnation and incarnation != history.store.incarnation:
        raise Expired("the store has another incarnation than the one you read: list again")


def check_list_options(request: pb.ListRequest) -> None:
    """Raises:
    BadRequest: a revision beside a token, which has its own.
    Invalid: a match without a revision to match; its causes name the fields as Kubernetes does.
    """
    revision = parse_revision(request.resource_version)
    if request.continue_token and revision:
        raise BadRequest("resource_version is not allowed with a continue token, which has its own: leave it out")
    if not (request.exact or request.not_older_than):
        return
    field = "resourceVersionMatch"
    forbidden: list[str] = []
    if request.exact and request.not_older_than:
        forbidden.append("a list is either exact or not_older_than")
    if request.continue_token:
        forbidden.append("it is forbidden with a continue token")
    elif revision is None:
        forbidden.append("it is forbidden unless resource_version is given")
    elif request.exact and revision == 0:
        forbidden.append("exact is forbidden with resource_version 0")
    if forbidden:
        raise Invalid(
            f"{field}: {', '.join(forbidden)}", causes=[Cause(field, why, "FieldValueForbidden") for why in forbidden]
        )


class Getter:
    """Answers gets from the watch cache."""

    def __init__(self, histories: Histories, role: Role) -> None:
        self._histories = histories
        self._role = role

    def get(self, request: pb.GetRequest, reply: Callable[[bytes | ApiError], None], timed: Request) -> None:
        """Call `reply`, now or when the revision asked for has been reached.

        Raises:
            BadRequest: no such kind, subresource or revision. Expired: another incarnation.
        """
        kind = served_kind(request.resource, self._role, self._histories.kinds)
        check_subresource(kind, request.subresource)
        history = self._histories.of(kind)
        check_incarnation(history, request.incarnation)
        asked = parse_revision(request.resource_version)
        awaited = history.store.head if asked is None else asked
        key = kind.key(request.tenant, request.namespace, request.name)

        def answer(error: ApiError | None) -> None:
            timed.enter(Phase.ENCODE)
            head = history.cache.head
            # Looked up only now: a custom kind may have gone while we waited.
            collection = history.cache.collections.get(kind.resource)
            entry = collection.entries.get(key) if collection is not None else None
            if error is not None:
                reply(error)
            elif entry is None:
                reply(NotFound(f"{key} does not exist", key=key, resource_version=head))
            else:
                state = pb.GetReply(resource_version=head, incarnation=history.store.incarnation)
                scale = request.subresource == "scale"
                data = scale_of(kind, entry.message()).SerializeToString() if scale else entry.data
                reply(frames.list_item(data) + state.SerializeToString())

        if history.cache.head >= awaited:
            answer(None)
        else:
            timed.enter(Phase.STORE)
            history.freshness.wait(awaited, answer)
