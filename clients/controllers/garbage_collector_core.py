"""The decisions of the garbage collector, without I/O: which dependents go with their owners, and which owners may go.

Events of the informers make items *due*; a due item is looked at, and so is what it depends on:

* An object whose owners are all gone is deleted. That an owner is gone is never concluded from an informer: it is asked
  about where it would be, and is gone when there is none of its uid. Of a kind that only the other role serves it may
  be in any partition there, which is for `foreign_owners.py`. What cannot be asked about counts as living.
* One living owner keeps an object: it only loses its references to the others.
* An owner that is deleted in the Foreground has its dependents deleted first, and goes when none is left that blocks
  it. Dependents that wait, in turn, for their owner do not block it: neither could ever go.
* An owner that leaves Orphans behind goes when its dependents have lost their references to it.

The last two rest on there being no more dependents, so they need views that are complete up to the owner's marking, and
for an owner whose dependents may be in other partitions, their word.
Every write names the uid and the revision it was decided on: what has changed since is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.kinds import Role
from ...proto.objects import Object
from ...proto.propagation import BACKGROUND, FINALIZER_OF, FOREGROUND, ORPHAN, POLICY_OF
from ..informer import Event, EventType
from ..operations import delete_operation, patch_operation
from .foreign_owners_core import Fate
from .owners import ForeignViews, Item, KindOf, Owners, Views, blocks, waits_for


class Decision(NamedTuple):
    """`again`: the views lag behind what is known, so it must be looked at again even if nothing happens."""

    operation: pb.Operation | None = None
    again: bool = False


NOTHING, AGAIN = Decision(), Decision(again=True)


# Whether an owner may go by this policy, as far as other partitions are concerned.
IsFree = Callable[[Item, str], bool]


class GarbageCollectorCore:
    """Events in, decisions out. `views` are the informers' caches, `foreign_views` those over the other role."""

    def __init__(
        self,
        role: Role,
        views: Views,
        kind_of: KindOf,
        foreign_views: ForeignViews | None = None,
        is_free: IsFree = lambda _owner, _policy: True,
    ) -> None:
        """`role`: of the home partition."""
        self._is_free = is_free
        self._owners = Owners(role, views, kind_of, foreign_views)
        self._due: dict[Item, None] = {}
        # Objects that name an owner of a kind that is not known; it may be defined yet.
        self._unresolved: dict[Item, None] = {}

    # ------------------------------------------------------------------------------------------------------- events

    def observe(self, resource: str, event: Event) -> None:
        """The hot path: once for every change of every object, and most change nothing here."""
        obj, old = event.object, event.old
        if event.type is EventType.ADDED:
            self._added(Item(resource, obj.key, obj.uid), obj)
            return
        assert old is not None, "an event that does not add tells of something known"
        if event.type is EventType.DELETED:
            self._gone(Item(resource, old.key, old.uid), old)
            return
        metadata = obj.message.metadata
        changed = metadata.owner_references != old.message.metadata.owner_references
        if changed or metadata.deletion_ms:
            self._modified(Item(resource, obj.key, obj.uid), old, obj, references_changed=changed)

    def _added(self, item: Item, obj: Object) -> None:
        self._owners.link(item, obj)
        self._look_at_owners_of(item, obj)
        self._begin_waiting(item, waits_for(obj))

    def _modified(self, item: Item, old: Object, obj: Object, *, references_changed: bool) -> None:
        if references_changed:
            self._owners.unlink(item, old)
            self._owners.link(item, obj)
            self._look_at_owners_of(item, obj)
        if references_changed or not old.deletion_ms:
            self._wake_owners_of(old)
        policy = waits_for(obj)
        if policy != waits_for(old):
            self._begin_waiting(item, policy)

    def _gone(self, item: Item, last: Object) -> None:
        self._owners.unlink(item, last)
        self._due.pop(item, None)
        self._unresolved.pop(item, None)
        self._wake_owners_of(last)
        self._due.update(dict.fromkeys(self._owners.dependents(item.uid)))

    def history_began(self, resource: str, objects: Iterable[Object]) -> None:
        """The view of this kind is now of another history, which has begun with an older state of the partition.

        What was decided and written in the one before may be undone, and where that leaves an object as it was seen,
        or takes back its deletion, no event says so.
        """
        for obj in objects:
            item = Item(resource, obj.key, obj.uid)
            self._look_at_owners_of(item, obj)
            self._begin_waiting(item, waits_for(obj))

    def forget(self, resource: str, objects: Sequence[Object]) -> None:
        """These are not watched any more, which says nothing about whether they are there."""
        for obj in objects:
            item = Item(resource, obj.key, obj.uid)
            self._owners.unlink(item, obj)
            self._due.pop(item, None)
            self._unresolved.pop(item, None)

    def foreign_event(self, event: Event) -> None:
        """Of an object in a partition of the other role. While it lives it matters to nobody."""
        obj = event.object
        if event.type is EventType.DELETED or obj.message.metadata.deletion_ms:
            self._due.update(dict.fromkeys(self._owners.dependents(obj.uid)))

    def foreign_partition_left(self, resource: str) -> None:
        """A partition of the other role was removed, and with it the owners of this kind that it had."""
        self._due.update(dict.fromkeys(self._owners.dependents_elsewhere(resource)))

    def answered(self, owner: Item) -> None:
        """There is an answer about an owner elsewhere, or about the dependents elsewhere of one that is here."""
        if owner.elsewhere:
            self._due.update(dict.fromkeys(self._owners.dependents(owner.uid)))
        else:
            self._due[owner] = None

    def kinds_changed(self) -> None:
        """Look again at what named an owner of an unknown kind."""
        self._due.update(self._unresolved)
        self._unresolved = {}

    def _begin_waiting(self, item: Item, policy: str) -> None:
        if policy:
            self._due[item] = None
            self._due.update(dict.fromkeys(self._owners.dependents(item.uid)))

    def _look_at_owners_of(self, item: Item, obj: Object) -> None:
        """An owner that lives, as far as can be seen, needs no second look: its end will be an event."""
        for reference in obj.message.metadata.owner_references:
            owner = self._owners.owner(reference, obj)
            if owner is None:
                self._unresolved[item] = None
            elif not self._is_seen_to_live(owner):
                self._due[item] = None

    def _wake_owners_of(self, obj: Object) -> None:
        for _, owner in self._owners.owners(obj):
            shown = self._owners.shown(owner) if owner is not None else None
            if owner is not None and shown is not None and waits_for(shown) and not owner.elsewhere:
                self._due[owner] = None

    def _is_seen_to_live(self, owner: Item) -> bool:
        shown = self._owners.shown(owner)
        return shown is not None and not waits_for(shown)

    def take_due(self) -> list[Item]:
        due = list(self._due)
        self._due.clear()
        return due

    # ---------------------------------------------------------------------------------------------------- decisions

    def questions(self, item: Item) -> list[Item]:
        """The owners whose fate must be known before anything is decided about this item."""
        obj = self._owners.shown(item)
        if obj is None or obj.deletion_ms:
            return []
        owners = [owner for _, owner in self._owners.owners(obj) if owner is not None]
        return [owner for owner in owners if not self._is_seen_to_live(owner) and not self._is_orphaning(owner)]

    def decide(self, item: Item, fates: Mapping[Item, Fate], complete_up_to: int) -> Decision:
        """What to write for this item now. `complete_up_to`: all views contain all revisions up to here."""
        obj = self._owners.shown(item)
        if obj is None:
            return NOTHING
        policy = waits_for(obj)
        if policy:
            return self._let_go(item, obj, policy, complete_up_to)
        return NOTHING if obj.deletion_ms else self._collect(item, obj, fates)

    def _let_go(self, item: Item, obj: Object, policy: str, complete_up_to: int) -> Decision:
        if self._is_held(obj, policy):
            return NOTHING  # The end of what holds it is an event.
        if complete_up_to < obj.resource_version or not self._is_free(item, policy):
            return AGAIN
        finalizers = [finalizer for finalizer in obj.finalizers if finalizer != FINALIZER_OF[policy]]
        return Decision(_change(item, obj, {"finalizers": finalizers}))

    def _is_held(self, obj: Object, policy: str) -> bool:
        dependents = self._owners.dependents_shown(obj.uid)
        if policy == ORPHAN:  # What is being deleted anyway needs no freeing.
            return any(not each.deletion_ms for each in dependents)
        return any(blocks(each, obj.uid) and not self._waits_for_owner(each, obj) for each in dependents)

    def _waits_for_owner(self, dependent: Object, owner: Object) -> bool:
        """Whether a dependent can only go after its owner, over whatever chain of others."""
        known = {dependent.uid: None}
        chain = [dependent]
        while chain:
            each = chain.pop()
            if waits_for(each) != FOREGROUND:
                continue
            if blocks(owner, each.uid):
                return True
            for further in self._owners.dependents_shown(each.uid):
                if blocks(further, each.uid) and further.uid not in known:
                    known[further.uid] = None
                    chain.append(further)
        return False

    def _collect(self, item: Item, obj: Object, fates: Mapping[Item, Fate]) -> Decision:
        kept: list[pb.OwnerReference] = []
        waiting = orphaned = again = False
        for reference, owner in self._owners.owners(obj):
            if owner is None or self._is_seen_to_live(owner):
                kept.append(reference)
            elif self._is_orphaning(owner):
                orphaned = True
            elif owner not in fates:
                return AGAIN
            elif fates[owner] is Fate.LIVES:
                kept.append(reference)
                again = True  # Its end will be an event only once the informer has shown it.
            elif fates[owner] is Fate.WAITS:
                waiting = True
            elif fates[owner] is Fate.ORPHANS:
                orphaned = True
        if len(kept) == len(obj.owner_references):
            return AGAIN if again else NOTHING
        if kept or orphaned:
            return Decision(_change(item, obj, {"ownerReferences": [_written(each) for each in kept]}), again)
        policy = FOREGROUND if waiting and self._owners.has_dependents(obj.uid) else _own_policy(obj)
        return Decision(
            delete_operation(
                item.resource, item.key, uid=item.uid, resource_version=obj.resource_version, propagation=policy
            )
        )

    def _is_orphaning(self, owner: Item) -> bool:
        shown = self._owners.shown(owner)
        return shown is not None and waits_for(shown) == ORPHAN


def _own_policy(obj: Object) -> str:
    """As the object's finalizers say, which a Background that is asked for would take away."""
    return next((POLICY_OF[each] for each in obj.finalizers if each in POLICY_OF), BACKGROUND)


def _change(item: Item, obj: Object, metadata: dict[str, Any]) -> pb.Operation:
    """A change of metadata, by a patch: most informers here know no more of an object than its metadata."""
    precondition = {"uid": item.uid, "resourceVersion": str(obj.resource_version)}
    return patch_operation(item.resource, item.key, {"metadata": {**metadata, **precondition}})


def _written(reference: pb.OwnerReference) -> dict[str, Any]:
    return {
        "apiVersion": reference.api_version,
        "kind": reference.kind,
        "name": reference.name,
        "uid": reference.uid,
        "controller": reference.controller,
        "blockOwnerDeletion": reference.block_owner_deletion,
    }
