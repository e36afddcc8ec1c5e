"""Which partitions a command is about.

Tenants live in one tenant partition each, nodes in one resource partition each, and a person asks for "pods of tenant
acme" or "all nodes". What cannot be answered by every partition concerned is not answered as if it were complete: an
unreachable partition is not an empty one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import trio

from ...clients.client_set import ClientSet
from ...clients.partition_client import PartitionClient
from ...clients.tenants.whereabouts import Sight, judge
from ...proto.custom_kinds import DEFINITION
from ...proto.errors import InputError, LinkError, NotFound, Unreachable
from ...proto.kinds import BY_KIND, RESOURCE_ONLY, SYSTEM_TENANT, Kind, Role, Scope
from ...proto.objects import Object, ObjectKey
from ...proto.tenants import TENANTS

_CLASSES = (BY_KIND["PriorityClass"], BY_KIND["StorageClass"])

# How long a command waits for a partition. Someone is sitting in front of it.
PARTITION_SECONDS = 10.0

_Answer = TypeVar("_Answer")


async def ask(client: PartitionClient, question: Callable[[PartitionClient], Awaitable[_Answer]]) -> _Answer:
    """One answer within PARTITION_SECONDS.

    Raises:
        Unreachable: none came.
    """
    with trio.move_on_after(PARTITION_SECONDS):
        return await question(client)
    raise Unreachable(client.partition, f"no answer within {PARTITION_SECONDS:.0f} s; is it running?")


async def ask_all(
    clients: Mapping[str, PartitionClient], question: Callable[[PartitionClient], Awaitable[_Answer]]
) -> tuple[dict[str, _Answer], list[LinkError]]:
    """What the partitions answer, by name, and which of them did not.

    Raises:
        ApiError: a partition refused.
    """
    answers: dict[str, _Answer] = {}
    missing: dict[str, LinkError] = {}
    refused: list[Exception] = []

    async def one(name: str, client: PartitionClient) -> None:
        try:
            answers[name] = await ask(client, question)
        except LinkError as error:
            missing[name] = error
        except Exception as error:  # noqa: BLE001 - raised below, bare instead of in a group
            refused.append(error)

    async with trio.open_nursery() as nursery:
        for name, client in clients.items():
            nursery.start_soon(one, name, client)
    if refused:
        raise refused[0]
    return {name: answers[name] for name in clients if name in answers}, [missing[n] for n in clients if n in missing]


async def tenant_client(clients: ClientSet, tenant: str) -> PartitionClient:
    """The client of the tenant partition a tenant lives in.

    Raises:
        InputError: there is no such tenant, it is in several partitions, or it is the system tenant, which every tenant
            partition has.
        Unreachable: it may live in a partition that does not answer.
    """
    if tenant == SYSTEM_TENANT:
        names = ", ".join(clients.tenant_clients)
        raise InputError(f"every tenant partition has a tenant {tenant!r}: choose one of {names} with --partition")
    key = ObjectKey("", "", tenant)

    async def seen(client: PartitionClient) -> Object | None:
        try:
            return await client.get(TENANTS, key)
        except NotFound:
            return None

    answers, missing = await ask_all(clients.tenant_clients, seen)
    found = judge(Sight(name, each) for name, each in answers.items() if each is not None)
    if found.problem:
        raise InputError(found.problem)
    if found.home is not None:
        return clients.tenant_clients[found.home.partition]
    if missing:
        raise missing[0]
    raise InputError(
        f"there is no tenant {tenant!r}: `ursa tenant list` shows those there are, `ursa tenant create` makes one"
    )


def is_of_nodes(kind: Kind) -> bool:
    """Whether objects of a kind live in resource partitions though they have a namespace, as DaemonSets do: of the
    system tenant, each for the nodes of its own partition. What is to be on all nodes is in all of them."""
    return kind.custom is None and kind.roles == RESOURCE_ONLY and kind.scope is Scope.NAMESPACE


def is_of_all_tenants(kind: Kind) -> bool:
    """Whether each tenant partition is to have the same objects of a kind, whoever lives there: definitions of custom
    kinds, PriorityClasses and StorageClasses."""
    return kind is DEFINITION or kind in _CLASSES


def tenant_for(kind: Kind, tenant: str) -> str:
    """Whose an object of this kind is that says nothing of it."""
    return SYSTEM_TENANT if is_of_nodes(kind) else tenant


def clients_of_role(clients: ClientSet, kind: Kind) -> dict[str, PartitionClient]:
    """The clients of all partitions that serve a kind."""
    found: dict[str, PartitionClient] = {}
    if Role.TENANT in kind.roles:
        found.update(clients.tenant_clients)
    if Role.RESOURCE in kind.roles:
        found.update(clients.resource_clients)
    return found


def chosen(clients: ClientSet, kind: Kind, partition: str) -> dict[str, PartitionClient]:
    """The one partition named with --partition.

    Raises:
        InputError: there is no such partition, or it does not serve the kind; the message names those that do.
    """
    serving = clients_of_role(clients, kind)
    if partition not in serving:
        names = ", ".join(serving)
        raise InputError(f"--partition {partition}: {kind.plural} are served by {names}; choose one of them")
    return {partition: serving[partition]}


async def clients_for(
    clients: ClientSet, kind: Kind, *, partition: str, tenant: str, everywhere: bool
) -> dict[str, PartitionClient]:
    """The partitions to ask for objects of a kind: all of its role, or the one the tenant lives in.

    Raises:
        InputError, Unreachable: see `chosen` and `tenant_client`.
    """
    if partition:
        return chosen(clients, kind, partition)
    if everywhere or kind.scope is Scope.CLUSTER or Role.TENANT not in kind.roles:
        return clients_of_role(clients, kind)
    if tenant == SYSTEM_TENANT and Role.RESOURCE in kind.roles:
        return clients_of_role(clients, kind)
    client = await tenant_client(clients, tenant)
    return {client.partition: client}
