"""Where a running one box is found: `cluster.json`, written by `ursa up` and read by every other command.

    ~/.ursa/clusters/<name>.json      while it runs; $URSA_HOME instead of ~/.ursa where that is set
    <data directory>/cluster.json     the same, beside the data

A file that a killed one box left behind is recognised: its process is gone.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from ..proto.errors import InputError
from .addresses import require_label
from .processes import ProcessInfo

SCHEMA_VERSION = 1
DEFAULT_NAME = "default"
FILE_NAME = "cluster.json"


@dataclass(frozen=True)
class ClusterProcess:
    """One process of a one box. The addresses are empty where it listens on none."""

    name: str
    component: str
    pid: int
    address: str
    metrics: str


@dataclass(frozen=True)
class ClusterFile:
    """A running one box. The partitions' addresses are by name; `pid` is the process that runs it all."""

    name: str
    data_dir: str
    tenant_partitions: dict[str, str]
    resource_partitions: dict[str, str]
    processes: list[ClusterProcess] = field(default_factory=list)
    # Of its schedulers: a KubeSchedulerConfiguration, and plugins as module:Class.
    scheduler_config: str = ""
    scheduler_plugins: list[str] = field(default_factory=list)
    pid: int = field(default_factory=os.getpid)
    # Together with the pid this names one process for good: pids come round again.
    pid_created: float = field(default_factory=lambda: psutil.Process().create_time())

    @property
    def running(self) -> bool:
        try:
            return psutil.Process(self.pid).create_time() == self.pid_created
        except psutil.NoSuchProcess:
            return False

    def save(self, path: Path) -> None:
        """Write it whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            temporary.write_text(json.dumps({"schemaVersion": SCHEMA_VERSION} | asdict(self), indent=2) + "\n")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path) -> ClusterFile:
        """Read a file without asking whether its cluster still runs.

        Raises:
            FileNotFoundError: there is none.
            InputError: it is no cluster file.
        """
        try:
            values = json.loads(path.read_text())
            if values.pop("schemaVersion") != SCHEMA_VERSION:
                raise InputError(
                    "written by another version of Ursa: stop that cluster and start it again", file=str(path)
                )
            values["processes"] = [ClusterProcess(**process) for process in values["processes"]]
            return cls(**values)
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"this is no cluster file ({error}): remove it", file=str(path)) from None


def cluster_processes(processes: Iterable[ProcessInfo]) -> list[ClusterProcess]:
    return [ClusterProcess(info.name, info.component, info.pid, info.address, info.metrics) for info in processes]


def clusters_directory() -> Path:
    home = os.environ.get("URSA_HOME")
    return (Path(home) if home else Path.home() / ".ursa") / "clusters"


def cluster_path(name: str) -> Path:
    """Where the running cluster of this name is found. Raises InputError if the name is no DNS label."""
    return clusters_directory() / f"{require_label(name, '--name')}.json"


def load_cluster(path_or_name: str = DEFAULT_NAME) -> ClusterFile:
    """The running cluster of this name, or of this cluster file, or in this data directory.

    Raises:
        InputError: it does not run; the message says how to start it.
    """
    by_path = "/" in path_or_name or path_or_name.endswith(".json")
    path = Path(path_or_name) if by_path else cluster_path(path_or_name)
    if path.is_dir():
        path /= FILE_NAME
    try:
        cluster = ClusterFile.read(path)
    except FileNotFoundError:
        raise InputError(_not_running(path_or_name, by_path)) from None
    if not cluster.running:
        raise InputError(f"cluster {cluster.name!r} has ended (its process {cluster.pid} is gone): {_start(cluster)}")
    return cluster


def running_clusters() -> list[str]:
    """The names of all clusters that run, sorted."""
    names = []
    for path in sorted(clusters_directory().glob("*.json")):
        try:
            if ClusterFile.read(path).running:
                names.append(path.stem)
        except (InputError, FileNotFoundError):
            # What cannot be read does not run, and whoever asks for it by name is told why.
            continue
    return names


def require_not_running(name: str) -> None:
    """Raises InputError if a cluster of this name runs."""
    try:
        cluster = ClusterFile.read(cluster_path(name))
    except FileNotFoundError:
        return
    if cluster.running:
        raise InputError(
            f"a cluster named {name!r} is running already (process {cluster.pid}): stop it, or choose another --name"
        )


def _not_running(path_or_name: str, by_path: bool) -> str:
    if by_path:
        return f"no cluster is running in {path_or_name}: start one with `ursa up --data-dir DIR`"
    if path_or_name == DEFAULT_NAME and not running_clusters():
        return "no cluster is running: start one with `ursa up`"
    others = ", ".join(running_clusters())
    command = "ursa up" if path_or_name == DEFAULT_NAME else f"ursa up --name {path_or_name}"
    return f"no cluster {path_or_name!r} is running: start it with `{command}`" + (
        f", or choose one of {others}" if others else ""
    )


def _start(cluster: ClusterFile) -> str:
    name = "" if cluster.name == DEFAULT_NAME else f" --name {cluster.name}"
    kept = f" --data-dir {cluster.data_dir}" if Path(cluster.data_dir).is_dir() else ""
    return f"start it again with `ursa up{name}{kept}`"
