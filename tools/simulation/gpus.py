"""GPUs in a run: some seeds have nodes with a few of them, and pods that want shares, one or several.

Whole GPUs and shares get into each other's way, and what is lost of a ledger must come back device by device.
"""

from __future__ import annotations

from random import Random

from .plan import Operation, Plan
from .widening import LAST_START

# So many seeds have GPUs, drawn from a stream of their own: all else that a seed draws stays as it was.
GPUS_CHANCE = 0.2

# In thousandths of a GPU; several are always whole.
_WANTED = (200, 300, 500, 600, 1000, 1000, 2000)


def with_gpus(plan: Plan) -> Plan:
    """The same plan, with GPUs on all nodes, and some who want them."""
    random = Random(f"{plan.seed}/plan/gpus")
    if random.random() >= GPUS_CHANCE or not plan.operations:
        return plan
    users = list(dict.fromkeys(each.user for each in plan.operations))
    drawn = []
    for _ in range(random.randint(5, 40)):
        verb, arguments = _draw(random)
        at = round(random.uniform(0.0, plan.seconds * LAST_START), 3)
        drawn.append(Operation(at, random.choice(users), verb, {"tenant": random.choice(plan.tenants), **arguments}))
    operations = sorted((*plan.operations, *drawn), key=lambda each: each.at)
    return plan.with_(knobs=plan.knobs.with_(node_gpus=random.choice((1, 2, 4))), operations=tuple(operations))


def _draw(random: Random) -> tuple[str, dict[str, object]]:
    """Few names, so that they come again."""
    wanted = {"cpu": "50m", "gpu": random.choice(_WANTED)}
    chance = random.random()
    if chance < 0.5:
        return "pod", {"name": f"gpu-{random.randint(1, 12)}", "run_seconds": random.choice((0, 0, 5, 20)), **wanted}
    if chance < 0.7:
        number = random.randint(1, 2)
        # All pods of a set want the same, whoever makes it first.
        return "scale", {"name": f"gpus-{number}", "replicas": random.randint(0, 6), "cpu": "50m", "gpu": 400 * number}
    name = f"gpu-{random.randint(1, 12)}"
    return ("replace-pod", {"name": name, **wanted}) if chance < 0.85 else ("delete-pod", {"name": name, "grace": -1})
