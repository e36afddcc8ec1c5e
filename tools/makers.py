"""How each part of a cluster is made of its clients and its actor, for those who run parts in their own loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..clients.actor import Actor
from ..clients.client import ClientSet
from ..clients.controllers import ResourceControllerManager, TenantControllerManager
from ..clients.kubelet.hollow import HollowNodes, InstanceObserver
from ..clients.kubelet.options import HollowNodesOptions
from ..clients.scheduler import Scheduler, SchedulerOptions
from ..proto.objects import Object
from .components import Component

Make = Callable[[ClientSet, Actor], Component]


def scheduler(home: str, options: SchedulerOptions = SchedulerOptions()) -> Make:  # noqa: B008  # immutable
    return lambda clients, actor: Scheduler(clients, home, actor, options)


def tenant_controllers(home: str) -> Make:
    return lambda clients, actor: TenantControllerManager(clients, home, actor)


def resource_controllers(home: str) -> Make:
    return lambda clients, actor: ResourceControllerManager(clients, home, actor)


def hollow_nodes(
    home: str,
    nodes: Sequence[Object],
    options: HollowNodesOptions,
    observer: InstanceObserver | None = None,
    static_pods: Sequence[Object] = (),
) -> Make:
    return lambda clients, actor: HollowNodes(clients, home, actor, nodes, options, observer, static_pods)
