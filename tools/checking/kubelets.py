"""What kubelets say of pods is so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...clients.kubelet.static_pods import MIRROR_ANNOTATION
from ...proto.kinds import MAIN_STORE
from ...proto.objects import decode
from ..recording.records import Instance, Write
from .changes import Change
from .recorded import History, Recording
from .violations import Violation

KUBELETS = "Kubelets tell what is"

PODS = "pods"

# By the process of a kubelet and the pod's uid, which a pod keeps when its tenant moves to another partition: what was
# started and stopped, in the order of time.
Lives = Mapping[tuple[str, str], list[Instance]]


def kubelets_tell_what_is(recording: Recording) -> Iterator[Violation]:
    """**A kubelet says that a pod runs only when it has started it, and lets it go only when nothing of it runs**: of
    this very pod, by its uid, so what it says of one never reaches its namesake at another partition.
    (clients/kubelet/core.py) Judged where it is known which instances kubelets start."""
    lives: dict[tuple[str, str], list[Instance]] = {}
    homes: dict[str, str] = {}
    for each in sorted(recording.instances, key=lambda each: each.time):
        lives.setdefault((each.host, each.uid), []).append(each)
        homes[each.host] = each.node_partition
    writes = {write.request_id: write for write in recording.writes if write.request_id and write.client in homes}
    for history in recording.histories.values():
        if history.store != MAIN_STORE:
            continue
        after = history.known(PODS)[0]
        for change in history.by_resource.get(PODS, ()):
            write = writes.get(change.request_id)
            if write is not None and change.revision > after:
                yield from _judge(history, change, write, homes[write.client], lives)


def _judge(history: History, change: Change, write: Write, home: str, lives: Lives) -> Iterator[Violation]:
    message = change.message
    if MIRROR_ANNOTATION in message.metadata.annotations:
        return  # It shows a static pod, which is another one and is told of to nobody.
    spec, status = decode(message.spec), decode(message.status) if message.status else {}
    instances = [each for each in lives.get((write.client, change.uid), ()) if each.time <= write.call]
    wrong = ""
    if spec.get("resourcePartition", home) != home:
        wrong = f"writes it, which is bound in {spec['resourcePartition']}"
    elif change.deleted:
        if instances and instances[-1].started:
            wrong = "lets it go, and runs it"
    elif status.get("phase") == "Running" and not instances:
        wrong = "says that it runs, and has not started it"
    if wrong:
        text = f"{change.key} ({change.uid}) of {history.partition}, revision {change.revision}: {write.client} of"
        yield Violation(KUBELETS, f"{text} {home} {wrong}", change.key, change.time)
