"""What the object commands share: their options, and clients of the running cluster."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, NamedTuple, TypeVar

import click
import trio

from ...clients.actor import Actor
from ...clients.client_set import ClientSet
from ...proto.errors import InputError
from ...proto.kinds import Kind, Scope
from ...proto.objects import Object, ObjectKey
from ...proto.selectors import parse_field_selector, parse_label_selector
from ..bootstrap import DEFAULT_TENANT
from ..clocks import running_clock
from ..components import open_grpc_clients
from ..endpoints import DEFAULT_NAME, load_cluster
from ..objects.columns import NAMESPACE, TENANT, Column
from ..objects.directory import tenant_for
from ..objects.kinds import KnownKinds, learn_kinds

DEFAULT_NAMESPACE = "default"

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Result = TypeVar("_Result")


class Scoping(NamedTuple):
    """Whose objects a command is about."""

    tenant: str
    namespace: str
    everywhere: bool
    partition: str

    def selection(self, kind: Kind) -> tuple[str, str]:
        """The tenant and the namespace to select by; empty: all."""
        if self.everywhere or kind.scope is Scope.CLUSTER:
            return "", ""
        return tenant_for(kind, self.tenant), self.namespace if kind.scope is Scope.NAMESPACE else ""

    def key(self, kind: Kind, name: str) -> ObjectKey:
        return ObjectKey(*self.selection(kind), name)

    def columns(self, kind: Kind) -> tuple[Column, ...]:
        """The columns that tell objects of different tenants and namespaces apart."""
        if not self.everywhere or kind.scope is Scope.CLUSTER:
            return ()
        return (TENANT, NAMESPACE) if kind.scope is Scope.NAMESPACE else (TENANT,)


def scope_options(command: _Command) -> _Command:
    for option in (
        click.option("--cluster", default=DEFAULT_NAME, show_default=True, help="The cluster, or its data directory."),
        click.option("--partition", default="", metavar="NAME", help="Ask only this partition."),
        click.option("--tenant", default=DEFAULT_TENANT, show_default=True, help="The tenant."),
        click.option("-n", "--namespace", default=DEFAULT_NAMESPACE, show_default=True, help="The namespace."),
    ):
        command = option(command)
    return command


def selector_options(command: _Command) -> _Command:
    for option in (
        click.option("--field-selector", default="", metavar="F=V", help="Like status.phase=Running."),
        click.option("-l", "--selector", "label_selector", default="", metavar="L=V", help="Like app=web,tier!=cache."),
    ):
        command = option(command)
    return command


def everywhere_option(command: _Command) -> _Command:
    return click.option(
        "-A", "--all-namespaces", "everywhere", is_flag=True, help="All tenants and all namespaces of all partitions."
    )(command)


def parse_target(words: tuple[str, ...], kinds: KnownKinds) -> tuple[Kind, list[str]]:
    """`pods a b`, `pod/a`, `pods`: the kind, and the names if there are any.

    Raises:
        NotFound: an unknown kind. InputError: nothing to go by.
    """
    if not words:
        raise InputError("say which kind: for example `ursa get pods`")
    first, *names = words
    resource, slash, name = first.partition("/")
    if slash:
        if names:
            raise InputError(f"write either {resource}/{name} or {resource} {name} {' '.join(names)}")
        names = [name]
    return kinds.named(resource), names


def parse_targets(words: tuple[str, ...], kinds: KnownKinds) -> tuple[list[Kind], list[str]]:
    """Like `parse_target`, but several kinds may be named, with commas between: `pods,nodes`."""
    first, *names = words or ("",)
    resources = [word for word in first.split(",") if word]
    if len(resources) < 2:
        kind, names = parse_target(words, kinds)
        return [kind], names
    if names:
        raise InputError("names belong to one kind: leave out the names, or all kinds but one")
    return [kinds.named(resource) for resource in resources], []


def check_selectors(label_selector: str, field_selector: str) -> None:
    """Raises BadRequest before anything is asked."""
    parse_label_selector(label_selector)
    parse_field_selector(field_selector)


def run_with_clients(cluster: str, body: Callable[[ClientSet], Awaitable[_Result]], *, follow: bool = False) -> _Result:
    """Run `body` with clients of all partitions of a running cluster.

    Args:
        follow: partitions that come and go meanwhile, too.

    Raises:
        InputError: no such cluster runs.
    """
    found = load_cluster(cluster)

    async def main() -> _Result:
        actor = Actor("ursa-cli", running_clock(), Random())
        partitions = found.tenant_partitions, found.resource_partitions
        async with open_grpc_clients(*partitions, actor, home="" if follow else None) as clients:
            return await body(clients)

    return trio.run(main)


def known_kinds(cluster: str) -> KnownKinds:
    """The kinds that a running cluster has."""
    return KnownKinds(lambda: run_with_clients(cluster, learn_kinds))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def once_by_name(objects: list[Object], kind: Kind) -> list[Object]:
    """The registry, and mostly a definition, is in every partition; a person wants to see each entry once."""
    if kind.kind not in ("TenantPartition", "ResourcePartition", "CustomResourceDefinition"):
        return objects
    return list({obj.name: obj for obj in reversed(objects)}.values())[::-1]
