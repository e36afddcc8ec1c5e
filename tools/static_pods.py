"""Manifests of static pods, from files: checked as a partition would check them, for no partition will be asked."""

from __future__ import annotations

from collections.abc import Iterable

from ..partitions.admission.pods import PodStrategy
from ..partitions.admission.validation import Causes, check_metadata
from ..proto.errors import InputError, Invalid
from ..proto.kinds import BY_KIND, SYSTEM_TENANT
from ..proto.objects import Object
from .applying import DEFAULT_NAMESPACE
from .objects.manifests import Manifest, read_manifests

_POD = BY_KIND["Pod"]


def read_static_pods(paths: Iterable[str]) -> list[Object]:
    """With all that they do not say themselves.

    Raises:
        InputError: a file that cannot be read, or holds something else than pods that could run.
    """
    found: dict[tuple[str, str], Object] = {}
    for manifest in read_manifests(paths):
        try:
            pod = _checked(manifest)
        except Invalid as error:
            raise InputError(str(error), file=manifest.file, line=manifest.line) from None
        if (pod.namespace, pod.name) in found:
            told = f"pod {pod.namespace}/{pod.name} comes twice: give each its own name"
            raise InputError(told, file=manifest.file, line=manifest.line)
        found[pod.namespace, pod.name] = pod
    return list(found.values())


def _checked(manifest: Manifest) -> Object:
    """Raises Invalid, InputError."""
    pod = manifest.object.with_metadata()
    metadata = pod.message.metadata
    wrong = ""
    if manifest.kind is not _POD:
        wrong = f"a {manifest.kind.kind} cannot be run by a kubelet alone: only pods can"
    elif metadata.tenant not in ("", SYSTEM_TENANT):
        wrong = f"a static pod is of the tenant {SYSTEM_TENANT!r}: leave metadata.tenant out"
    elif not metadata.name:
        wrong = "a static pod needs a metadata.name: nobody makes one up"
    elif isinstance(pod.spec, dict) and pod.spec.get("nodeName"):
        wrong = "a static pod runs on the nodes that it is given to: leave spec.nodeName out"
    if wrong:
        raise InputError(wrong, file=manifest.file, line=manifest.line)
    metadata.tenant, metadata.namespace = SYSTEM_TENANT, metadata.namespace or DEFAULT_NAMESPACE
    causes = Causes()
    check_metadata(_POD, metadata, causes)
    PodStrategy(_POD).admit(pod.message, causes)
    causes.raise_if_any(_POD.kind, pod.name)
    return Object(pod.message)
