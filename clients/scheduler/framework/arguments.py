"""Reads the `args` of a `pluginConfig`; what makes no sense is one line that names the plugin and the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

# Fields that every object of the configuration's API has.
_ENVELOPE: Final = ("apiVersion", "kind")


class Arguments:
    """Ask for each field that there is, then `done`."""

    def __init__(self, plugin: str, args: Mapping[str, Any] | None, field: str = "") -> None:
        self._plugin, self._field = plugin, field
        if args is not None and not isinstance(args, Mapping):
            raise ValueError(f"{plugin}: {field or 'args'} must be fields by name, not {args!r}")
        self._left = {key: value for key, value in (args or {}).items() if field or key not in _ENVELOPE}
        self._known: list[str] = list(_ENVELOPE) if not field else []

    def error(self, name: str, problem: str) -> ValueError:
        place = f"{self._field}.{name}" if self._field else name
        return ValueError(f"{self._plugin}: {place} {problem}")

    def _take(self, name: str) -> Any:
        self._known.append(name)
        return self._left.pop(name, None)

    def text(self, name: str, default: str, among: Sequence[str]) -> str:
        value = self._take(name)
        if value is None:
            return default
        if value not in among:
            raise self.error(name, f"must be {' or '.join(among)}, not {value!r}")
        return str(value)

    def number(self, name: str, default: int | None, least: int, most: int) -> int:
        value = self._take(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.error(name, f"must be a whole number from {least} to {most}, not {value!r}")
        return value

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        value = self._take(name)
        if value is not None and not isinstance(value, Mapping):
            raise self.error(name, f"must be fields by name, not {value!r}")
        return value

    def names(self, name: str) -> tuple[str, ...]:
        value = self._take(name)
        if value is None:
            return ()
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
            raise self.error(name, f"must be a list of names, not {value!r}")
        return tuple(value)

    def objects(self, name: str) -> list[Arguments] | None:
        """A list of objects; None: it is not there."""
        value = self._take(name)
        if value is None:
            return None
        if not isinstance(value, list | tuple):
            raise self.error(name, f"must be a list, not {value!r}")
        place = f"{self._field}.{name}" if self._field else name
        return [Arguments(self._plugin, each, f"{place}[{at}]") for at, each in enumerate(value)]

    def inner(self, name: str) -> Arguments | None:
        """An object; None: it is not there."""
        value = self.mapping(name)
        return None if value is None else Arguments(self._plugin, value, f"{self._field}.{name}".lstrip("."))

    def free_text(self, name: str) -> str:
        value = self._take(name)
        if not isinstance(value, str) or not value:
            raise self.error(name, f"must be a name, not {value!r}")
        return value

    def done(self) -> None:
        """
        Raises:
            ValueError: a field that there is not.
        """
        for name in self._left:
            raise self.error(name, f"is no field: there are {', '.join(self._known)}")
