"""Watches that select the same, and how they are found.

A group is found by that of what it selects by which narrows most: an indexed field, a name, a namespace, any field that
must have one value, a tenant. So a change costs the watches that want it, and not the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Protocol

from ...proto.errors import ApiError
from ..entries import Change, Entry
from ..selections import CompiledSelection


class Follower(Protocol):
    """A watch, as its group sees it."""

    def follow(self, start: int) -> None:
        """There are events for it, in a commit behind the revision `start`."""

    def outrun(self) -> None:
        """The objects that it holds are older than all changes that are kept: it could not go on behind them."""

    def stop(self, error: ApiError) -> None:
        """What it watches is not served any more. It leaves its group."""


class Group:
    """The watches with one selection: one, or several. Most have one, and there may be hundreds of thousands."""

    __slots__ = ("_followers", "selection")

    def __init__(self, selection: CompiledSelection, follower: Follower) -> None:
        self.selection = selection
        self._followers: Follower | dict[Follower, None] = follower

    def add(self, follower: Follower) -> None:
        if not isinstance(self._followers, dict):
            self._followers = {self._followers: None}
        self._followers[follower] = None

    def remove(self, follower: Follower) -> bool:
        """Whether it was the last one."""
        if isinstance(self._followers, dict):
            del self._followers[follower]
            return not self._followers
        return True

    def __iter__(self) -> Iterator[Follower]:
        return iter(self._followers if isinstance(self._followers, dict) else (self._followers,))

    def __len__(self) -> int:
        return len(self._followers) if isinstance(self._followers, dict) else 1


# Those with the same value of what they are found by; mostly there is one.
_Bucket = Group | dict[tuple[object, ...], Group]

_ALL, _TENANT, _NAMESPACE, _NAME = -1, -2, -3, -4
_PARTS: dict[int, Callable[[Entry], str]] = {
    _ALL: lambda _: "",
    _TENANT: attrgetter("tenant"),
    _NAMESPACE: attrgetter("namespace"),
    _NAME: attrgetter("name"),
}


class Groups:
    """The groups of one kind."""

    def __init__(self) -> None:
        # By what they are found by: the place of a field among an entry's fields, or a part of the key.
        self._buckets: dict[int, dict[str, _Bucket]] = {}

    def join(self, selection: CompiledSelection, follower: Follower) -> Group:
        place, value = _found_by(selection)
        by_value = self._buckets.setdefault(place, {})
        bucket = by_value.get(value)
        if bucket is None:
            alone = by_value[value] = Group(selection, follower)
            return alone
        if isinstance(bucket, Group):
            if bucket.selection.parts == selection.parts:
                bucket.add(follower)
                return bucket
            bucket = by_value[value] = {bucket.selection.parts: bucket}
        group = bucket.get(selection.parts)
        if group is None:
            group = bucket[selection.parts] = Group(selection, follower)
        else:
            group.add(follower)
        return group

    def leave(self, group: Group, follower: Follower) -> None:
        if not group.remove(follower):
            return
        place, value = _found_by(group.selection)
        by_value = self._buckets[place]
        bucket = by_value[value]
        if isinstance(bucket, dict):
            del bucket[group.selection.parts]
        if isinstance(bucket, Group) or not bucket:
            del by_value[value]
            if not by_value:
                del self._buckets[place]

    def __iter__(self) -> Iterator[Group]:
        for by_value in self._buckets.values():
            for bucket in by_value.values():
                yield from _groups(bucket)

    def concerned(self, change: Change) -> list[Group]:
        """Those that may see something of a change."""
        old = change.old
        either = change.new or old
        assert either is not None
        found: list[Group] = []
        for place, by_value in self._buckets.items():
            value = _field(either, place) if place >= 0 else _PARTS[place](either)
            found += _groups(by_value.get(value))
            if place >= 0 and old is not None and (before := _field(old, place)) != value:
                found += _groups(by_value.get(before))
        return found


def _field(entry: Entry, place: int) -> str:
    # While a custom kind is defined anew, watches of the old one are still there.
    return entry.fields[place] if place < len(entry.fields) else ""


def _found_by(selection: CompiledSelection) -> tuple[int, str]:
    if selection.indexed:
        return selection.place, selection.value
    if selection.name:
        return _NAME, selection.name
    if selection.namespace:
        return _NAMESPACE, selection.namespace
    places = selection.kind.places
    for requirement in selection.requirements:
        if requirement.operator == "In" and len(requirement.values) == 1 and requirement.key in places:
            return places[requirement.key], requirement.values[0]
    return (_TENANT, selection.tenant) if selection.tenant else (_ALL, "")


def _groups(bucket: _Bucket | None) -> Iterable[Group]:
    if bucket is None:
        return ()
    return bucket.values() if isinstance(bucket, dict) else (bucket,)
