"""What a run was measured on: the machine and the versions, for the report."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from ..report.observations import Machine

PACKAGES = ("ursa", "grpcio", "protobuf", "lmdb", "trio", "numpy", "msgpack")


def steal_seconds() -> float:
    """CPU time the host has taken from this machine since it started. 0 where the system does not tell."""
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def describe_machine(steal_seconds_at_start: float) -> Machine:
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=_processor(),
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=psutil.virtual_memory().total,
        steal_seconds=max(steal_seconds() - steal_seconds_at_start, 0.0),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def describe_versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
