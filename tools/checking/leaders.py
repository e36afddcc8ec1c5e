"""Leaders: who no longer leads writes nothing more, and a term has one holder."""

from __future__ import annotations

from collections.abc import Iterator

from ...proto.kinds import MAIN_STORE
from ...proto.leases import LEASES, holding
from ...proto.objects import decode
from ..recording.records import Write
from .changes import Change
from .recorded import History, Recording, describe
from .violations import Violation, title

DEPOSED = "Deposed leaders write nothing"
TERMS = "Terms rise"


def deposed_leaders_write_nothing(recording: Recording) -> Iterator[Violation]:
    """**A write of a deposed leader is refused**: what was decided on in a term of a Lease is carried out only while
    that Lease, in the same partition, is held in this very term. (partitions/writes/fences.py; of a leader that was
    deposed elsewhere the partition hears with the first write of its successor, clients/fencing.py)"""
    for write in recording.writes:
        if write.fence is None or write.store != MAIN_STORE or not write.request_id:
            continue
        for history in recording.incarnations.get((write.partition, write.store), ()):
            for revision in history.by_request_id.get(write.request_id, ()):
                if history.knows(LEASES, revision) and (wrong := _wrong_term(write, history, revision)):
                    text = f"{title(write)} was carried out at revision {revision} of {describe(history)}, {wrong}"
                    yield Violation(DEPOSED, text, write.key, history.by_revision[revision].time)


def _wrong_term(write: Write, history: History, revision: int) -> str:
    assert write.fence is not None
    key, uid, term, holder = write.fence
    decided = f"decided on by {holder} in term {term}"
    lease = history.replay.at(key, revision - 1)
    if lease is None:
        return f"{decided}, when there was no {key}"
    granted = _granted(lease)
    if granted == (uid, term, holder):
        return ""
    return f"{decided}, when {key} was held by {granted[2] or 'nobody'} in term {granted[1]}"


def terms_rise(recording: Recording) -> Iterator[Violation]:
    """**A term of a Lease has one holder, and terms rise**: nobody takes a Lease without a new term.
    (clients/leader_election_core.py)"""
    keys = dict.fromkeys((write.partition, write.fence[0]) for write in recording.writes if write.fence is not None)
    for partition, key in keys:
        for history in recording.incarnations.get((partition, MAIN_STORE), ()):
            changes = [each for each in history.by_resource.get(LEASES, ()) if each.key == key]
            yield from _of_one_lease(changes, history)


def _of_one_lease(changes: list[Change], history: History) -> Iterator[Violation]:
    holders: dict[tuple[str, int], str] = {}
    newest: dict[str, int] = {}
    for change in changes:
        uid, term, holder = _granted(change)
        before = newest.get(uid, 0)
        text = ""
        if term < before:
            text = f"went back from term {before} to {term}"
        elif holder and holders.setdefault((uid, term), holder) != holder:
            text = f"was taken by {holder} in term {term}, which was that of {holders[uid, term]}"
        newest[uid] = max(term, before)
        if text:
            yield Violation(TERMS, f"{change.key} of {describe(history)} {text}", change.key, change.time)


def _granted(lease: Change) -> tuple[str, int, str]:
    held = holding(decode(lease.message.spec))
    return lease.uid, held.term, held.holder
