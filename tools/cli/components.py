"""The parts of a cluster as commands, for one host each or all on one: endpoints are flags."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...proto.errors import InputError
from ...proto.kinds import Role
from ..addresses import Address, parse_partitions, require_label
from ..lifetime import end_with_parent, start_logging
from .component_options import election_option, endpoint_options, process_options

if TYPE_CHECKING:
    from ...clients.actor import Actor
    from ...clients.client_set import ClientSet
    from ..components import Component, Endpoints


def _begin(log_level: str, parent_pipe: bool) -> None:
    start_logging(log_level)
    if parent_pipe:
        end_with_parent()


def _endpoints(home: str, tenant_partitions: tuple[str, ...], resource_partitions: tuple[str, ...]) -> Endpoints:
    from ..components import Endpoints

    return Endpoints(
        home,
        parse_partitions(tenant_partitions, "--tenant-partition"),
        parse_partitions(resource_partitions, "--resource-partition"),
    )


def _delay(text: str) -> float | tuple[float, float]:
    low, dash, high = text.partition("-")
    try:
        bounds = (float(low), float(high if dash else low))
    except ValueError:
        bounds = (-1.0, -1.0)
    if not 0 <= bounds[0] <= bounds[1] < float("inf"):
        raise InputError(f"--start-delay must be seconds, like 1.5 or 1-3, not {text!r}")
    return bounds if dash else bounds[0]


@click.command()
@click.option("--name", required=True, metavar="NAME", help="Of the partition, like tp-1. It stays with the data.")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True, help="What it holds.")
@click.option("--data-dir", type=click.Path(path_type=Path), required=True, help="Made if it is not there.")
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:0", show_default=True, help="Port 0: any free one.")
@click.option("--commits-per-second", type=click.FloatRange(min=1), help="The pace of its commits under load.")
@click.option("--quota-bytes", type=click.IntRange(min=1), help="Of its records; over it, writes are refused.  [8 GiB]")
@click.option(
    "--events-quota-bytes",
    type=click.IntRange(min=0),
    help="Of its Events, which are kept apart; 0: with everything else.  [2 GiB]",
)
@click.option("--audit-log", metavar="FILE", type=click.Path(path_type=Path), help="A line of JSON for each request.")
@click.option(
    "--audit-log-bytes", type=click.IntRange(min=4096), help="Of one file of it; four older ones are kept.  [100 MiB]"
)
@click.option(
    "--slow-request-seconds",
    type=click.FloatRange(min=0),
    help="Requests that take so long have a line in the log.  [1]",
)
@click.option(
    "--connection-age-seconds",
    type=click.FloatRange(min=0.1),
    help="Connections are ended after about this time, and made anew; with several servers that spreads them.  [never]",
)
@process_options
def apiserver(
    name: str,
    role: str,
    data_dir: Path,
    listen: str,
    commits_per_second: float | None,
    quota_bytes: int | None,
    events_quota_bytes: int | None,
    audit_log: Path | None,
    audit_log_bytes: int | None,
    slow_request_seconds: float | None,
    connection_age_seconds: float | None,
    metrics_address: str,
    log_level: str,
    parent_pipe: bool,
) -> None:
    """Run the apiserver of one partition: its store on disk, and gRPC."""
    from ...partitions.frontends.grpc import Connections
    from ...partitions.pacing import COMMITS_PER_SECOND
    from ...partitions.process import ApiServerOptions
    from ...partitions.requests.audit import SLOW_SECONDS
    from ...partitions.requests.audit_file import FILE_BYTES_MAX
    from ...partitions.stores import EVENTS_QUOTA_BYTES, QUOTA_BYTES
    from ..apiserver import run_apiserver_component

    _begin(log_level, parent_pipe)
    pace = commits_per_second if commits_per_second is not None else COMMITS_PER_SECOND
    run_apiserver_component(
        ApiServerOptions(
            name=require_label(name, "--name"),
            role=Role(role),
            data_dir=data_dir,
            listen=str(Address.parse(listen, "--listen")),
            commits_per_second=pace,
            quota_bytes=QUOTA_BYTES if quota_bytes is None else quota_bytes,
            events_quota_bytes=EVENTS_QUOTA_BYTES if events_quota_bytes is None else events_quota_bytes,
            audit_log=audit_log,
            audit_log_bytes_max=FILE_BYTES_MAX if audit_log_bytes is None else audit_log_bytes,
            slow_request_seconds=SLOW_SECONDS if slow_request_seconds is None else slow_request_seconds,
            connections=Connections(age_seconds=connection_age_seconds),
        ),
        metrics_address,
    )


@click.command()
@click.option(
    "--scheduler-name",
    default="default-scheduler",
    show_default=True,
    help="Take the pods whose spec.schedulerName is this.",
)
@click.option("--config", type=click.Path(path_type=Path), help="A KubeSchedulerConfiguration, with profiles.")
@click.option("--plugin", "plugins", multiple=True, metavar="MODULE:CLASS", help="One of your own, for the profiles.")
@election_option
@endpoint_options
@process_options
def scheduler(
    name: str | None,
    home: str,
    tenant_partitions: tuple[str, ...],
    resource_partitions: tuple[str, ...],
    faults_file: Path | None,
    scheduler_name: str,
    config: Path | None,
    plugins: tuple[str, ...],
    leader_elect: bool,
    metrics_address: str,
    log_level: str,
    parent_pipe: bool,
) -> None:
    """Run the scheduler of a tenant partition: its pods, onto the nodes of all resource partitions."""
    _begin(log_level, parent_pipe)
    endpoints = _endpoints(home, tenant_partitions, resource_partitions)
    endpoints.require_home(endpoints.tenant_partitions, "a tenant partition")

    from ...clients.scheduler import Scheduler, SchedulerOptions
    from ..components import ComponentSpec, elected, run_component
    from ..scheduler_config import read_scheduler_config

    options, notes = read_scheduler_config(config, plugins, scheduler_name)
    for note in notes:
        logging.getLogger("ursa.scheduler").info("%s: %s", config, note)

    def make(clients: ClientSet, actor: Actor) -> Scheduler:
        return Scheduler(clients, home, actor, options)

    # Schedulers of other pods are not replicas of this one.
    lease = f"scheduler-{home}" if scheduler_name == SchedulerOptions().scheduler_name else f"{scheduler_name}-{home}"
    made = elected(home, lease, make) if leader_elect else make
    name = name or f"scheduler-{home}"
    run_component(ComponentSpec("scheduler", name, endpoints, metrics_address, made, faults_file=faults_file))


@click.command("controller-manager")
@election_option
@endpoint_options
@process_options
def controller_manager(
    name: str | None,
    home: str,
    tenant_partitions: tuple[str, ...],
    resource_partitions: tuple[str, ...],
    faults_file: Path | None,
    leader_elect: bool,
    metrics_address: str,
    log_level: str,
    parent_pipe: bool,
) -> None:
    """Run the controllers of a partition: those of tenants' objects, or those of nodes, as its role demands."""
    _begin(log_level, parent_pipe)
    endpoints = _endpoints(home, tenant_partitions, resource_partitions)

    from ...clients.controllers import ResourceControllerManager, TenantControllerManager
    from ..components import ComponentSpec, elected, run_component

    tenant = home in endpoints.tenant_partitions

    def make(clients: ClientSet, actor: Actor) -> TenantControllerManager | ResourceControllerManager:
        manager = TenantControllerManager if tenant else ResourceControllerManager
        return manager(clients, home, actor)

    lease = f"controller-manager-{home}"
    made = elected(home, lease, make) if leader_elect else make
    name = name or lease
    run_component(ComponentSpec("controller-manager", name, endpoints, metrics_address, made, faults_file=faults_file))


@click.command("hollow-nodes")
@click.option("--nodes", type=click.IntRange(min=1), metavar="N", help="How many nodes to make up.")
@click.option("--name-prefix", default="node", show_default=True, help="They are called PREFIX-0001 and on.")
@click.option("--first", type=click.IntRange(min=1), default=1, show_default=True, help="The number of the first one.")
@click.option("--cpu", default="4", show_default=True, help="Of each node.")
@click.option("--memory", default="32Gi", show_default=True, help="Of each node.")
@click.option("--pods", type=click.IntRange(min=1), default=110, show_default=True, help="Of each node.")
@click.option(
    "--nodes-file",
    type=click.Path(path_type=Path),
    help="Node manifests instead (YAML, .json or .msgpack); SIGHUP reads it again, and adds and removes nodes.",
)
@click.option(
    "--start-delay", metavar="SECONDS", default="0", help="What a container takes to start: 1.5, or 1-3 for a range."
)
@click.option(
    "--static-pods",
    multiple=True,
    metavar="FILE",
    help="Pods that each of these nodes runs by itself, whatever any partition says. A manifest, or a directory.",
)
@endpoint_options
@process_options
def hollow_nodes(
    name: str | None,
    home: str,
    tenant_partitions: tuple[str, ...],
    resource_partitions: tuple[str, ...],
    faults_file: Path | None,
    nodes: int | None,
    name_prefix: str,
    first: int,
    cpu: str,
    memory: str,
    pods: int,
    nodes_file: Path | None,
    start_delay: str,
    static_pods: tuple[str, ...],
    metrics_address: str,
    log_level: str,
    parent_pipe: bool,
) -> None:
    """Run many nodes that register, renew their leases and report their pods as running, but run nothing."""
    from ...clients.kubelet import HollowNodes, HollowNodesOptions
    from ..components import ComponentSpec, run_component
    from ..nodes import NodeOptions, host_nodes, load_nodes, make_nodes
    from ..static_pods import read_static_pods

    _begin(log_level, parent_pipe)
    if (nodes is None) == (nodes_file is None):
        raise InputError("give either --nodes N or --nodes-file FILE")
    endpoints = _endpoints(home, tenant_partitions, resource_partitions)
    endpoints.require_home(endpoints.resource_partitions, "a resource partition")
    node_options = NodeOptions(name_prefix=name_prefix, cpu=cpu, memory=memory, pods=pods)
    objects = load_nodes(nodes_file) if nodes_file is not None else make_nodes(nodes or 0, node_options, first)
    options = HollowNodesOptions(start_delay_seconds=_delay(start_delay))
    static = read_static_pods(static_pods)

    def make(clients: ClientSet, actor: Actor) -> HollowNodes:
        return HollowNodes(clients, home, actor, objects, options, static_pods=static)

    async def read_again(component: Component, clients: ClientSet) -> None:
        assert isinstance(component, HollowNodes)
        if nodes_file is not None:
            await host_nodes(component, clients.resource_clients[home], load_nodes(nodes_file))

    name = name or f"hollow-nodes-{home}"
    run_component(ComponentSpec("hollow-nodes", name, endpoints, metrics_address, make, read_again, faults_file))
