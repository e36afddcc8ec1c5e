"""Who is kept apart from whom: priority levels, and the schemas that say which requests belong to which.

Levels have seats of their own and lend none, so whatever happens in one costs the others nothing but the loop's time.
The names are those of Kubernetes. Schemas are tried in order, the first that fits wins. Users are today's: the name of
the component that asks. A batch of writes goes by its first operation.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

# A user's requests that wait in one level. Components have a handful in flight; who has more has run away.
QUEUE_LENGTH = 128
# Requests that wait in one level, of all its flows: each holds its message, at most some megabytes together.
WAITING_MAX = 4096
# A quarter of the time after which clients give a request up, as in Kubernetes: what is served later is served in vain.
WAIT_SECONDS_MAX = 7.5
# What waits for its turn a second later is worth asking for again.
RETRY_AFTER_MS = 1000

_ANY = ("*",)
_NODES = ("hollow-nodes-*", "kubelet-*", "system:node:*")
_CONTROLLERS = ("scheduler-*", "controller-manager-*")
_LEASES = ("leases.coordination.k8s.io",)


@dataclass(frozen=True)
class Level:
    """`seats`: what its requests may hold at once; see `costs` for what they are worth. None: all, always.

    One flow may hold half of them (`flow_seats`): as nothing that runs is taken back, this is what is free for all
    others when one of them comes.
    """

    name: str
    seats: int | None
    queue_length: int = QUEUE_LENGTH  # Requests of one flow. 0: what does not fit is refused.
    waiting_max: int = WAITING_MAX  # Requests of all flows.

    @property
    def flow_seats(self) -> int | None:
        return None if self.seats is None else max(1, self.seats // 2)


@dataclass(frozen=True)
class Schema:
    """Which requests belong to a level. Patterns are of the shell's kind."""

    name: str
    level: str
    users: tuple[str, ...] = _ANY
    verbs: tuple[str, ...] = _ANY  # mutate, get, list, watch
    resources: tuple[str, ...] = _ANY

    def matches(self, user: str, verb: str, resource: str) -> bool:
        return (
            any(fnmatchcase(user, pattern) for pattern in self.users)
            and any(fnmatchcase(verb, pattern) for pattern in self.verbs)
            and any(fnmatchcase(resource, pattern) for pattern in self.resources)
        )


# 64 seats: 64 ms of the loop that may be under way before others, of which one user has a half: two full batches, or
# one large list and half a batch.
LEVELS = (
    Level("exempt", None),
    Level("leader-election", 16),
    Level("node-high", 64),
    Level("system", 64),
    Level("workload-high", 64),
    Level("workload-low", 64),
    Level("global-default", 64),
    # Who does not say who he is shares one flow with all others who do not.
    Level("catch-all", 64),
)
SCHEMAS = (
    Schema("exempt", "exempt", users=("system:masters",)),
    Schema("system-leader-election", "leader-election", _CONTROLLERS, resources=_LEASES),
    # A node that cannot say that it lives is taken for dead.
    Schema("system-node-high", "node-high", _NODES, resources=(*_LEASES, "nodes")),
    Schema("system-nodes", "system", _NODES),
    Schema("kube-controllers", "workload-high", _CONTROLLERS),
    Schema("service-accounts", "workload-low", ("system:serviceaccount:*",)),
    Schema("global-default", "global-default", ("?*",)),
)
# What fits no schema.
CATCH_ALL = "catch-all"


@dataclass(frozen=True)
class FlowOptions:
    """The table. The last level takes what fits no schema."""

    levels: tuple[Level, ...] = LEVELS
    schemas: tuple[Schema, ...] = SCHEMAS
    wait_seconds_max: float = WAIT_SECONDS_MAX
    retry_after_ms: int = RETRY_AFTER_MS

    def __post_init__(self) -> None:
        names = [level.name for level in self.levels]
        for schema in self.schemas:
            if schema.level not in names:
                raise ValueError(f"schema {schema.name}: there is no level {schema.level!r}; known: {', '.join(names)}")

    def schema_of(self, user: str, verb: str, resource: str) -> Schema:
        for schema in self.schemas:
            if schema.matches(user, verb, resource):
                return schema
        return Schema(CATCH_ALL, self.levels[-1].name)


# Everybody's turn is now.
UNLIMITED = FlowOptions((Level("exempt", None),), ())
