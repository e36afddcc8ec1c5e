"""In which order a QueueSort plugin of a user's has the active pods: its keys, made safe to compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .framework.calls import asked
from .framework.interface import PluginError, QueueSortPlugin
from .pending import PendingPod

_Key = tuple[Any, ...]


class QueueOrder:
    """Gives the keys. A pod with which the plugin fails comes after all others, and `complain` is told."""

    def __init__(self, plugin: QueueSortPlugin, complain: Callable[[PendingPod, str], None]) -> None:
        self._plugin, self._complain = plugin, complain
        self._kinds: tuple[str, ...] | None = None  # Of the values of every key.

    def __call__(self, pod: PendingPod) -> tuple[bool, _Key]:
        try:
            return False, self._key(pod)
        except PluginError as error:
            self._complain(pod, str(error))
            return True, ()

    def _key(self, pod: PendingPod) -> _Key:
        plugin = self._plugin
        key: object = asked(plugin.name, plugin.sort_key, pod)
        kinds = tuple(_kind(value) for value in key) if isinstance(key, tuple) else ("",)
        if not isinstance(key, tuple) or "" in kinds:
            raise PluginError(plugin.name, f"must answer sort_key with a tuple of numbers and texts, not with {key!r}")
        if self._kinds is None:
            self._kinds = kinds
        if kinds != self._kinds:
            raise PluginError(
                plugin.name, f"must answer sort_key with ({', '.join(self._kinds)}) for every pod, not with {key!r}"
            )
        return key


def _kind(value: object) -> str:
    """Values of one kind can be compared. Empty: of none."""
    if isinstance(value, str):
        return "text"
    return "number" if isinstance(value, int | float) and value == value else ""
