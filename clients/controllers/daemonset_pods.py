"""The pods of a DaemonSet: what each is to it, and the operation that makes one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from ...proto import ursa_pb2 as pb
from ...proto.kinds import BY_KIND
from ...proto.objects import Object, decode, encode
from ..operations import PODS, create_operation
from .controller_revisions import POD_LABEL
from .daemonset_nodes import tolerations
from .pods import is_finished, ready_since_ms
from .template_hash import short_name

DAEMONSET = BY_KIND["DaemonSet"]
_SUFFIX_LENGTH = 8


class DaemonPod(NamedTuple):
    """`hash`: of the revision it was made of. `ready_since_ms`: 0 where it is not running and ready."""

    pod: Object
    node: str
    hash: str
    terminating: bool
    finished: bool
    ready_since_ms: int

    def unavailable_ms(self, min_ready_ms: int, now_ms: int) -> int | None:
        """For how long it is not available yet; 0: it is; None: nobody knows."""
        if not self.ready_since_ms or self.terminating:
            return None
        return max(self.ready_since_ms + min_ready_ms - now_ms, 0)


def pods_by_node(pods: Sequence[Object]) -> dict[str, list[DaemonPod]]:
    """Those of each node, the oldest first."""
    found: dict[str, list[DaemonPod]] = {}
    for pod in sorted(pods, key=lambda each: (each.creation_ms, each.name)):
        node = _node_name(pod.message.spec)
        revision_hash = pod.message.metadata.labels.get(POD_LABEL, "")
        made = DaemonPod(pod, node, revision_hash, bool(pod.deletion_ms), is_finished(pod), ready_since_ms(pod))
        found.setdefault(node, []).append(made)
    return found


# The pods of a DaemonSet have a spec each, which is looked at in every step; 16,384 of them are a few megabytes.
@lru_cache(maxsize=16384)
def _node_name(spec: bytes) -> str:
    return decode(spec).get("nodeName") or ""


def creation(daemonset: Object, revision_hash: str, node: str, present: int) -> pb.Operation:
    """Of a pod on a node that has as many of this DaemonSet.

    Its name follows from that: whoever decides twice that it is missing makes the same pod twice, and the second time
    it exists already.
    """
    template = daemonset.spec.get("template") or {}
    of_template = template.get("metadata") or {}
    spec = {**(template.get("spec") or {}), "nodeName": node}
    spec["tolerations"] = tolerations(spec)
    message = pb.Object(api_version="v1", kind="Pod", spec=encode(spec))
    metadata = message.metadata
    metadata.tenant, metadata.namespace = daemonset.tenant, daemonset.namespace
    suffix = short_name(f"{daemonset.uid}/{node}/{revision_hash}/{present}", _SUFFIX_LENGTH)
    metadata.name = f"{daemonset.name}-{suffix}"
    metadata.labels.update({**(of_template.get("labels") or {}), POD_LABEL: revision_hash})
    metadata.annotations.update(of_template.get("annotations") or {})
    metadata.finalizers.extend(of_template.get("finalizers") or ())
    metadata.owner_references.add(
        api_version=DAEMONSET.api_version,
        kind=DAEMONSET.kind,
        name=daemonset.name,
        uid=daemonset.uid,
        controller=True,
        block_owner_deletion=True,
    )
    return create_operation(Object(message), resource=PODS)
