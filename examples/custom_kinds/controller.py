"""A controller of two custom kinds, small enough to read: it turns each object into the pods that it needs now.

What an object needs is worked out by plain functions from the object and the pods that it has (`pods_of_spark`,
`pods_of_workflow`). The shell around them follows objects and pods, and looks at an object again when either changes.
Pods carry their owner's name in a label, and a uid that is not their owner's anymore means that they go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import trio
from ursa.clients.client import PartitionClient
from ursa.clients.informer import Event, Informer
from ursa.proto.errors import AlreadyExists, ApiError, Conflict, LinkError, NotFound
from ursa.proto.objects import Object, ObjectKey

OWNER_LABEL = "examples.ursa.dev/owner"
OWNER_UID = "examples.ursa.dev/owner-uid"
# After an error the object is looked at again; also should an event have been missed.
AGAIN_SECONDS = 1.0


class Wanted(NamedTuple):
    """The pods an object should have, their specs by name, and the status that it should show."""

    pods: dict[str, dict[str, Any]]
    status: dict[str, Any]


# --------------------------------------------------------------------------------------------------------- decisions


def pods_of_spark(application: Object, running: Mapping[str, bool]) -> Wanted:
    """A driver; and executors once it runs. `running`: the pods there are, by name, and whether each runs."""
    spec, name = application.spec, application.name
    driver = f"{name}-driver"
    pods = {driver: _pod_spec(spec["image"], spec["driver"])}
    if running.get(driver):
        for number in range(spec["executor"]["instances"]):
            pods[f"{name}-exec-{number}"] = _pod_spec(spec["image"], spec["executor"])
    executors = sum(runs for pod, runs in running.items() if pod != driver)
    return Wanted(pods, {"applicationState": "Running" if running.get(driver) else "Submitted", "executors": executors})


def pods_of_workflow(workflow: Object, running: Mapping[str, bool]) -> Wanted:
    """A pod for each task whose dependencies run."""
    pods = {}
    for task in workflow.spec["tasks"]:
        if all(running.get(f"{workflow.name}-{name}") for name in task.get("dependencies") or ()):
            pods[f"{workflow.name}-{task['name']}"] = _pod_spec(task["image"], {"cores": 1, "memory": "64Mi"})
    all_started = len(pods) == len(workflow.spec["tasks"]) and all(running.get(name) for name in pods)
    return Wanted(pods, {"phase": "AllStarted" if all_started else "Running", "started": len(pods)})


def _pod_spec(image: str, resources: Mapping[str, Any]) -> dict[str, Any]:
    requests = {"cpu": str(resources["cores"]), "memory": resources["memory"]}
    return {"containers": [{"name": "main", "image": image, "resources": {"requests": requests}}]}


# ------------------------------------------------------------------------------------------------------------- shell


class CustomController:
    """Of one kind in one tenant partition. `decide` says what an object needs."""

    def __init__(
        self, tenant_client: PartitionClient, resource: str, decide: Callable[[Object, Mapping[str, bool]], Wanted]
    ) -> None:
        self._tenant_client = tenant_client
        self._resource = resource
        self._decide = decide
        self._objects = Informer(tenant_client, resource)
        self._pods = Informer(tenant_client, "pods", label_selector=f"{OWNER_LABEL}={_label(resource)}")
        self._changed = trio.Event()
        for informer in (self._objects, self._pods):
            informer.add_handler(self._on_event)

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._objects.run)
            nursery.start_soon(self._pods.run)
            await self._objects.wait_synced()
            await self._pods.wait_synced()
            while True:
                self._changed = trio.Event()
                for obj in list(self._objects.objects.values()):
                    # Refused or lost: looked at again soon.
                    with suppress(ApiError, LinkError):
                        await self._sync(obj)
                with suppress(ApiError, LinkError):
                    await self._collect()
                with trio.move_on_after(AGAIN_SECONDS):
                    await self._changed.wait()

    def _on_event(self, _: Event) -> None:
        self._changed.set()

    async def _sync(self, obj: Object) -> None:
        if obj.deletion_ms:
            return
        mine = {pod.name: pod for pod in self._pods.objects.values() if pod.annotations.get(OWNER_UID) == obj.uid}
        wanted = self._decide(obj, {name: pod.status.get("phase") == "Running" for name, pod in mine.items()})
        for name, spec in wanted.pods.items():
            if name not in mine:
                with suppress(AlreadyExists):  # Our own view is a little behind.
                    await self._tenant_client.create(self._pod(obj, name, spec))
        for name, pod in mine.items():
            if name not in wanted.pods and not pod.deletion_ms:
                await self._delete(pod)
        if obj.status != wanted.status:
            with suppress(Conflict, NotFound):  # It has changed: its event is on the way.
                await self._tenant_client.update_status(obj.with_status(wanted.status))

    async def _collect(self) -> None:
        """Pods whose owner is gone."""
        owners = {obj.uid: None for obj in self._objects.objects.values()}
        for pod in list(self._pods.objects.values()):
            if pod.annotations.get(OWNER_UID) not in owners and not pod.deletion_ms:
                await self._delete(pod)

    async def _delete(self, pod: Object) -> None:
        with suppress(NotFound, Conflict):
            await self._tenant_client.delete("pods", pod.key, uid=pod.uid)

    def _pod(self, owner: Object, name: str, spec: dict[str, Any]) -> Object:
        metadata = {
            "name": name,
            "tenant": owner.tenant,
            "namespace": owner.namespace,
            "labels": {OWNER_LABEL: _label(self._resource), "app": owner.name},
            "annotations": {OWNER_UID: owner.uid},
        }
        return Object.from_dict({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def _label(resource: str) -> str:
    return resource.partition(".")[0]


SPARK_APPLICATIONS = "sparkapplications.sparkoperator.k8s.io"
WORKFLOWS = "workflows.argoproj.io"
DECISIONS: dict[str, Callable[[Object, Mapping[str, bool]], Wanted]] = {
    SPARK_APPLICATIONS: pods_of_spark,
    WORKFLOWS: pods_of_workflow,
}


async def run_controllers(tenant_client: PartitionClient) -> None:
    """Both kinds, until cancelled."""
    async with trio.open_nursery() as nursery:
        for resource, decide in DECISIONS.items():
            nursery.start_soon(CustomController(tenant_client, resource, decide).run)


def key_of(name: str) -> ObjectKey:
    """Of an object in the default namespace of the default tenant."""
    return ObjectKey("default", "default", name)
