"""What a client has seen of a partition, so that no read of its own takes it back in time.

A read of "any" state (resource version "0") may be answered by an apiserver whose cache is behind: one that was just
started, or stands still. The answer is true, but old, and a client that has seen a pod deleted would find it alive
again (kubernetes/kubernetes#59848). So "any" is asked for as "not older than what I have seen". The revision goes with
the incarnation of the store that gave it, because a restored store counts anew: it says Expired, and the client begins
anew, too, instead of waiting for ever for a revision that will not come.
"""

from __future__ import annotations

from ..proto.kinds import BY_RESOURCE, MAIN_STORE

ANY = "0"
CONSISTENT = ""


class _Seen:
    """Of one store. `homeless`: a revision was learned before the client knew any incarnation."""

    __slots__ = ("homeless", "incarnation", "revision")

    def __init__(self) -> None:
        self.incarnation = ""
        self.revision = 0
        self.homeless = False


class Sightings:
    """By store: revisions of different stores are not compared."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def saw(self, store: str, incarnation: str, revision: int) -> None:
        """A reply has shown the state at this revision. An empty store is the main one, as in replies of a watch."""
        seen = self._of(store)
        if incarnation and incarnation != seen.incarnation:
            seen.incarnation = incarnation
            seen.revision = 0
            seen.homeless = False
        if revision > seen.revision:
            seen.revision = revision

    def learned(self, store: str, revision: int) -> None:
        """As the answers to writes, and refusals, tell a revision: without its incarnation.

        It is taken for the one last seen. If that is wrong, the next read of any state hears of it, and begins anew.
        """
        seen = self._of(store)
        if seen.incarnation:
            seen.revision = max(seen.revision, revision)
        else:
            seen.homeless = True

    def forget(self, store: str) -> None:
        """The store has begun another history."""
        self._seen.pop(store or MAIN_STORE, None)

    def not_older(self, store: str) -> tuple[str, str]:
        """The resource version, and its incarnation, that "any" has to be for this client."""
        seen = self._of(store)
        if seen.homeless:
            return CONSISTENT, ""
        if not seen.incarnation:
            return ANY, ""
        return str(seen.revision), seen.incarnation

    def _of(self, store: str) -> _Seen:
        seen = self._seen.get(store or MAIN_STORE)
        if seen is None:
            seen = self._seen[store or MAIN_STORE] = _Seen()
        return seen


def store_of(resource: str) -> str:
    """The store that keeps a resource where the partition has one of that name."""
    kind = BY_RESOURCE.get(resource)
    return kind.store if kind is not None else MAIN_STORE
