"""A partition with Services and pods, and the endpoints cores beside it, over views that lag behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ursa.clients.controllers.endpoint_slices import SERVICE_LABEL, SLICE, plan_slices
from ursa.clients.controllers.endpoints import _service_of
from ursa.clients.controllers.endpoints_core import EndpointsCore, sorted_endpoints
from ursa.clients.controllers.endpoints_object import ENDPOINTS, plan_endpoints
from ursa.clients.operations import delete_operation, patch_operation
from ursa.proto import ursa_pb2 as pb
from ursa.proto.kinds import Role
from ursa.proto.objects import Object, ObjectKey, encode

from ...partitions.conftest import Partition, pod
from .lagging import View

# As small as this the tests make them.
PER_SLICE = 3


def key(name: str) -> ObjectKey:
    return ObjectKey("system", "default", name)


class World:
    def __init__(self) -> None:
        self.partition = Partition(Role.TENANT)
        self.views = {
            resource: View(self.partition, resource, lambda event, resource=resource: self._event(resource, event))
            for resource in ("services", "pods", SLICE.resource, ENDPOINTS.resource)
        }
        self.core = EndpointsCore(self.views["pods"].objects)
        self.changed: Counter[str] = Counter()  # Slices written since it was looked at last, by Service.

    def _event(self, resource: str, event: Any) -> None:
        if resource == "services":
            self.core.service_event(event)
        elif resource == "pods":
            self.core.pod_event(event)

    # ------------------------------------------------------------------------------------------------ what users do

    def service(self, name: str, **spec: Any) -> None:
        manifest = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "tenant": "system", "namespace": "default"},
            "spec": {"ports": [{"port": 80, "targetPort": "http"}], "selector": {"app": "web"}, **spec},
        }
        self.partition.create(manifest)

    def patch_service(self, name: str, **spec: Any) -> None:
        self.partition.do(patch_operation("services", key(name), {"spec": spec}))

    def pod(self, name: str, app: str = "web", port: int = 8080, **spec: Any) -> None:
        manifest = pod(name, labels={"app": app}, finalizers=["ursa.dev/test"])
        manifest["spec"]["containers"][0]["ports"] = [{"name": "http", "containerPort": port}]
        manifest["spec"] |= spec
        self.partition.create(manifest)

    def run(self, name: str, *, ready: bool = True, phase: str = "Running") -> None:
        uid = self.partition.get("pods", name).uid
        conditions = [{"type": "Ready", "status": str(ready)}]
        self.status(name, {"phase": phase, "podIP": f"fd00::{uid[:4]}", "conditions": conditions})

    def status(self, name: str, status: Mapping[str, Any]) -> None:
        obj = self.partition.get("pods", name)
        update = pb.Operation(resource="pods")
        update.update.subresource = "status"
        update.update.object.CopyFrom(obj.message)
        update.update.object.status = encode(status)
        self.partition.do(update)

    def label(self, name: str, app: str) -> None:
        self.partition.do(patch_operation("pods", key(name), {"metadata": {"labels": {"app": app}}}))

    def stop(self, name: str) -> None:
        self.partition.do(delete_operation("pods", key(name)))

    def end(self, name: str) -> None:
        self.stop(name)
        self.partition.do(patch_operation("pods", key(name), {"metadata": {"finalizers": []}}))

    # ---------------------------------------------------------------------------------------- what the controller does

    def deliver(self, resource: str, most: int = 1_000_000) -> None:
        view = self.views[resource]
        view.gather()
        for _ in range(min(most, len(view.pending))):
            view.deliver()

    def sync(self) -> int:
        """All that is due, from views that show their own writes. Returns how much was written."""
        for resource in (SLICE.resource, ENDPOINTS.resource):
            self.deliver(resource)
        operations = []
        for name in self.core.take_due():
            served = self.core.served(name)
            if served is None:
                continue
            slices, endpoints = self.views[SLICE.resource].objects, sorted_endpoints(served)
            present = [each for each in slices.values() if _service_of(each) == (str(name),)]
            made = plan_slices(served.service, endpoints, present, slices.__contains__)
            self.changed[name.name] += len(made)
            operations += made
            operations += plan_endpoints(served.service, endpoints, self.views[ENDPOINTS.resource].objects.get(name))
        if operations:
            assert not any(result.HasField("error") for result in self.partition.write(*operations))
        return len(operations)

    def settle(self) -> None:
        for resource in self.views:
            self.deliver(resource)
        self.sync()
        for each in self.partition.list("services").items:
            self.core._due[Object(each).key] = None
        assert self.sync() == 0, "a second look finds nothing to do"

    # ------------------------------------------------------------------------------------------------------ what it is

    def listed(self, resource: str) -> list[Object]:
        return [Object(each) for each in self.partition.list(resource).items]

    def slices(self, service: str) -> list[Object]:
        uid = self.partition.get("services", service).uid
        found = [each for each in self.listed(SLICE.resource) if each.labels.get(SERVICE_LABEL) == service]
        return [each for each in found if each.controller is not None and each.controller.uid == uid]

    def check(self) -> None:
        for service in self.listed("services"):
            if not service.spec.get("selector"):
                continue
            slices = self.slices(service.name)
            assert slices, "one says that there are none"
            assert all(len(each.rest["endpoints"]) <= PER_SLICE for each in slices)
            found = [
                (endpoint["targetRef"]["name"], endpoint["addresses"], endpoint["conditions"], ports_in(each))
                for each in slices
                for endpoint in each.rest["endpoints"]
            ]
            assert sorted(found) == sorted(self.expected(service))
            assert len(slices) == 1 or all(each.rest["endpoints"] for each in slices)
            self._check_endpoints(service, found)

    def expected(self, service: Object) -> list[tuple[str, list[str], dict[str, bool], list[int]]]:
        made = []
        for each in self.listed("pods"):
            status = each.status
            selected = all(each.labels.get(k) == v for k, v in service.spec["selector"].items())
            if not selected or not status.get("podIP") or status["phase"] in ("Succeeded", "Failed"):
                continue
            serving, terminating = status["conditions"][0]["status"] == "True", each.deletion_ms > 0
            ready = bool(service.spec.get("publishNotReadyAddresses")) or (serving and not terminating)
            conditions = {"ready": ready, "serving": serving, "terminating": terminating}
            target = service.spec["ports"][0]["targetPort"]
            has = each.spec["containers"][0]["ports"][0]
            made.append(
                (each.name, [status["podIP"]], conditions, [has["containerPort"] if target == "http" else target])
            )
        return made

    def _check_endpoints(self, service: Object, found: list[Any]) -> None:
        endpoints = self.partition.get(ENDPOINTS.resource, service.name)
        ready = [each["targetRef"]["name"] for s in endpoints.rest["subsets"] for each in s.get("addresses", ())]
        others = [
            each["targetRef"]["name"] for s in endpoints.rest["subsets"] for each in s.get("notReadyAddresses", ())
        ]
        assert sorted(ready) == sorted(name for name, _, conditions, _ in found if conditions["ready"])
        waiting = [
            name for name, _, conditions, _ in found if not conditions["ready"] and not conditions["terminating"]
        ]
        assert sorted(others) == sorted(waiting)


def ports_in(obj: Object) -> list[int]:
    return [each["port"] for each in obj.rest["ports"]]
