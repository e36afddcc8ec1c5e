"""The profile that a file names: a KubeSchedulerConfiguration with one profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...clients.scheduler.framework.config import make_profiles, read_configuration
from ...clients.scheduler.framework.profile import Profile
from ...clients.scheduler.plugins.gpu_typical import TypicalPod
from ...clients.scheduler.plugins.registry import BUILT_IN, DEFAULT_WEIGHTS
from ...proto.errors import InputError
from ..typical_pods import with_typical


class NamedProfile(NamedTuple):
    """As it is written, under the name of its file."""

    name: str
    written: Mapping[str, Any]

    def completed(self, typical: Sequence[TypicalPod]) -> Mapping[str, Any]:
        """As it is written, and with the typical pods where it does not say."""
        return with_typical(self.written, typical)

    def make(self, typical: Sequence[TypicalPod]) -> Profile:
        """The plugins, made anew.

        Raises:
            InputError: a plugin is not there, or its arguments make no sense.
        """
        try:
            (profile,) = make_profiles([self.completed(typical)], BUILT_IN, DEFAULT_WEIGHTS, {})
        except ValueError as error:
            raise InputError(f"profile {self.name}: {error}") from None
        return profile


def read_profile(path: Path) -> NamedProfile:
    """
    Raises:
        InputError: it cannot be read, is no configuration, or has not one profile.
    """
    try:
        configuration = read_configuration(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from error
    except ValueError as error:
        raise InputError(str(error), file=str(path)) from None
    if len(configuration.profiles) != 1:
        raise InputError(f"must have one profile to compare, not {len(configuration.profiles)}", file=str(path))
    return NamedProfile(path.stem, configuration.profiles[0])
