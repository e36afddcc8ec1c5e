"""A claim is for the very node that its scheduler chose."""

from __future__ import annotations

from collections.abc import Iterator

from ...proto.kinds import MAIN_STORE
from ...proto.objects import decode
from .changes import resource_of
from .recorded import History, Recording
from .violations import Violation

IDENTITY = "The node that was meant"

NODES, PLACEMENTS = "nodes", "placements.ursa.dev"


def claims_are_of_the_node_that_was_meant(recording: Recording) -> Iterator[Violation]:
    """**A node is its partition, its name and its uid**: a Placement is admitted only on the node that bears the uid it
    names, and never on another one that took over the name. (partitions/admission/ledger.py)"""
    for history in recording.histories.values():
        if history.store == MAIN_STORE and history.by_resource.get(PLACEMENTS):
            yield from _strangers(history)


def _strangers(history: History) -> Iterator[Violation]:
    uids: dict[str, str] = {}  # Of the newest node of each name.
    after = max(history.known(NODES)[0], history.known(PLACEMENTS)[0])
    changes = [*history.by_resource.get(NODES, ()), *history.by_resource[PLACEMENTS]]
    for change in sorted(changes, key=lambda each: each.revision):
        if resource_of(change.key) == NODES:
            uids[change.key.rpartition("/")[2]] = change.uid
        elif not change.deleted and not change.previous_revision and change.revision > after:
            spec = decode(change.message.spec)
            uid = uids.get(spec["node"])
            if uid is not None and uid != spec["nodeUID"]:
                text = f"{change.key} of {history.partition} was admitted on {spec['node']} at revision"
                yield Violation(
                    IDENTITY,
                    f"{text} {change.revision}, whose uid is {uid}, and is for {spec['nodeUID']}",
                    change.key,
                    change.time,
                )
