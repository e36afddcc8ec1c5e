"""Profiles that judge by what pods typically ask for, and do not say it: they are told by the pods at hand."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ..clients.scheduler.framework.config import API_VERSION, KIND, read_configuration
from ..clients.scheduler.plugins.gpu_fragmentation import GpuFragmentation
from ..clients.scheduler.plugins.gpu_stranding import GpuStranding
from ..clients.scheduler.plugins.gpu_typical import TypicalPod, typical_args, typical_pods

_OF_TYPICAL: Final = (GpuFragmentation.name, GpuStranding.name)


def with_typical(profile: Mapping[str, Any], typical: Sequence[TypicalPod]) -> Mapping[str, Any]:
    """A profile as it is written, and with these pods for the plugins of which it does not say."""
    configs = profile.get("pluginConfig") or []
    if not typical or not isinstance(configs, list):
        return profile
    named = dict.fromkeys(each.get("name") for each in configs if isinstance(each, Mapping))
    args = {"typicalPods": typical_args(typical)}
    more = [{"name": plugin, "args": args} for plugin in _OF_TYPICAL if plugin not in named]
    return {**profile, "pluginConfig": [*configs, *more]}


@contextmanager
def config_with_typical(file: Path | None, requests: Sequence[Mapping[str, int]]) -> Iterator[Path | None]:
    """A KubeSchedulerConfiguration completed by pods that request this, for as long as the block is open. One that
    makes no sense is left as it is, for its reader to say so."""
    try:
        profiles = read_configuration(file.read_text(encoding="utf-8")).profiles if file is not None else ()
    except (OSError, ValueError):
        profiles = ()
    if file is None or not profiles:
        yield file
        return
    typical = typical_pods(requests)
    completed = [with_typical(profile, typical) for profile in profiles]
    with tempfile.TemporaryDirectory(prefix="ursa-profiles-") as directory:
        made = Path(directory) / file.name
        made.write_text(json.dumps({"apiVersion": API_VERSION, "kind": KIND, "profiles": completed}), encoding="utf-8")
        yield made
