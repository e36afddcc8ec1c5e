"""Services in a run: some seeds have them, and at rest their slices say just the pods that they select, each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from random import Random

from ...proto.objects import Object
from .plan import Operation, Plan
from .widening import LAST_START

FINISHED_PHASES = ("Succeeded", "Failed")
# So many seeds have Services, drawn from a stream of their own: all else that a seed draws stays as it was.
SERVICES_CHANCE = 0.3

_SERVICE_LABEL = "kubernetes.io/service-name"
_APPS = ("set-1", "set-2", "web-1", "web-2")


def with_services(plan: Plan) -> Plan:
    """The same plan, with some who make and delete Services for the pods of others."""
    random = Random(f"{plan.seed}/plan/services")
    if random.random() >= SERVICES_CHANCE or not plan.operations:
        return plan
    users = list(dict.fromkeys(each.user for each in plan.operations))
    drawn = []
    for _ in range(random.randint(3, 12)):
        app, verb = random.choice(_APPS), random.choice(("service", "service", "service", "delete-service"))
        at = round(random.uniform(0.0, plan.seconds * LAST_START), 3)
        arguments = {"tenant": random.choice(plan.tenants), "name": f"svc-{app}", "app": app}
        drawn.append(Operation(at, random.choice(users), verb, arguments))
    return plan.with_(operations=tuple(sorted((*plan.operations, *drawn), key=lambda each: each.at)))


def unsettled_services(
    services: Iterable[Object], slices: Iterable[Object], endpoints: Iterable[Object], pods: Iterable[Object]
) -> Iterator[str]:
    """What the slices and Endpoints of Services say that is not so, one line each."""
    found: dict[tuple[str, ...], Counter[str]] = {}
    for each in slices:
        place = each.partition, each.tenant, each.namespace, each.labels.get(_SERVICE_LABEL, "")
        uids = [endpoint["targetRef"]["uid"] for endpoint in each.rest.get("endpoints") or ()]
        found.setdefault(place, Counter()).update(uids)
    whole = {(each.partition, *each.key): each for each in endpoints}
    by_space: dict[tuple[str, str, str], list[Object]] = {}
    for pod in pods:
        by_space.setdefault((pod.partition, pod.tenant, pod.namespace), []).append(pod)
    for service in services:
        name = f"service {service.partition}/{service.key}"
        place = (service.partition, *service.key)
        beside = by_space.get((service.partition, service.tenant, service.namespace), ())
        wanted = Counter(pod.uid for pod in beside if _is_endpoint(pod, service.spec["selector"]))
        if place not in found or found[place] != wanted:
            yield f"{name} selects {len(wanted)} pods, its slices say {dict(found.get(place, {}))}"
        if place not in whole or _uids(whole[place]) != wanted:
            yield f"{name} selects {len(wanted)} pods, its Endpoints say something else"


def _is_endpoint(pod: Object, selector: Mapping[str, str]) -> bool:
    selected = all(pod.labels.get(key) == value for key, value in selector.items())
    return bool(selected and pod.status.get("podIP")) and pod.status.get("phase") not in FINISHED_PHASES


def _uids(endpoints: Object) -> Counter[str]:
    subsets = endpoints.rest.get("subsets") or ()
    groups = [subset.get(group) or () for subset in subsets for group in ("addresses", "notReadyAddresses")]
    return Counter(address["targetRef"]["uid"] for group in groups for address in group)
