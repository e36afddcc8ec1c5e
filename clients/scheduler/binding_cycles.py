"""Binding cycles: PreBind and Bind plugins that do I/O, asked beside the scheduler's decisions.

    claim holds ──PreBind──Bind──> the scheduler's own Bind, or what a plugin's `Binding.bind` was told
                     └───────└──objection, failure, time is up──> the claim is given up, the pod backs off

Only profiles that have such plugins have cycles: where `DefaultBinder` comes first and PreBind does no I/O, a claim
that holds becomes a Bind of the next batch at once, without a task.

A cycle is a task of its own, as it is a goroutine in Kubernetes
(https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/#scheduling-cycle-binding-cycle). There
are never more than pods that hold claims, and each answer is waited for `seconds_max` of its plugin at most.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from ...proto import ursa_pb2 as pb
from ...proto.errors import Unreachable, from_status
from ..client import ClientSet
from .actions import Bind
from .framework.calls import objection
from .framework.interface import AsyncPreBindPlugin, BindPlugin, PluginError, PreBindPlugin, Skip
from .hooks import CycleEnd, CyclePlugins
from .pending import PendingPod
from .repeats import ASK_AGAIN, MAYBE_DONE
from .sender import UNSENT_SECONDS_MAX

ALL_SKIPPED = "all Bind plugins have skipped the pod: enable DefaultBinder after them"


class Binding:
    """What a plugin may use that binds a pod, or prepares that. `clients`: of all partitions that the scheduler has."""

    def __init__(self, bind: Bind, clients: ClientSet) -> None:
        self.pod: PendingPod = bind.pod
        self.resource_partition, self.node = bind.pod.partition, bind.pod.node
        self.clients = clients
        self.result: pb.Result | None = None
        self.in_doubt = False
        self._bind = bind

    async def bind(self) -> None:
        """Bind the pod to the node that it holds a claim of, now: this very pod, as it was decided on. May be repeated.

        This is the only way in which a plugin may bind: of any other the scheduler knows nothing, and might give up the
        claim of a pod that runs.

        Raises:
            ApiError: the pod's home partition refuses.
            LinkError: there was no answer.
        """
        client = self.clients.for_partition(self._bind.partition)
        before, self.in_doubt = self.in_doubt, True
        try:
            [result] = await client.mutate(
                [self._bind.operation()], history=self._bind.history, unsent_seconds_max=UNSENT_SECONDS_MAX
            )
        except Unreachable:
            self.in_doubt = before
            raise
        if not result.HasField("error"):
            self.result, self.in_doubt = result, False
            return
        if result.error.reason in ASK_AGAIN:
            self.in_doubt = before or result.error.reason in MAYBE_DONE
        else:
            self.result, self.in_doubt = result, False
        raise from_status(result.error)


async def run_cycle(plugins: CyclePlugins, bind: Bind, clients: ClientSet) -> CycleEnd:
    """Ask a profile's PreBind plugins, then its Bind plugins until one does not skip the pod."""
    binding = Binding(bind, clients)
    try:
        problem = await _ask_all(plugins, binding)
    except PluginError as error:
        problem = str(error)
    return CycleEnd(problem, binding.result, binding.in_doubt)


async def _ask_all(plugins: CyclePlugins, binding: Binding) -> str:
    pod = binding.pod
    for preparing in plugins.pre_bind:
        if isinstance(preparing, PreBindPlugin):
            reason: str | Skip = objection(preparing.name, "pre_bind", preparing.pre_bind, pod, pod.slot)
        else:
            reason = await _answer(preparing, "pre_bind", preparing.pre_bind, binding)
        if reason:
            return f"plugin {preparing.name}: {reason}"
    for plugin in plugins.bind:
        answer = await _answer(plugin, "bind", plugin.bind, binding)
        if not isinstance(answer, Skip):
            return f"plugin {plugin.name}: {answer}" if answer else ""
    return ALL_SKIPPED


async def _answer(
    plugin: AsyncPreBindPlugin | BindPlugin,
    method: str,
    ask: Callable[[PendingPod, Binding], Awaitable[str | Skip]],
    binding: Binding,
) -> str | Skip:
    try:
        with trio.move_on_after(plugin.seconds_max):
            answer = await ask(binding.pod, binding)
            if not isinstance(answer, str | Skip):
                raise PluginError(plugin.name, f"must answer {method} with a text, not with {answer!r}")
            return answer
    except PluginError:
        raise
    except Exception as error:
        raise PluginError(plugin.name, f"raised {type(error).__name__}: {error}") from error
    raise PluginError(plugin.name, f"has not answered {method} within {plugin.seconds_max:g} s")
