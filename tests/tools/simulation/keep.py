"""Keep the plan of a bug that is mended, so that it stays so:

    .venv/bin/python -m tests.tools.simulation.keep runs/seed-7/shrunk.json a-name-for-it "What was wrong, in a line."

It is written to `plans/`, from where `test_kept_plans.py` runs it.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from ursa.tools.simulation import Plan, simulate

KEPT = Path(__file__).parent / "plans"
# They all run in `make test`.
CPU_SECONDS_MAX = 3.0


def main() -> int:
    if len(sys.argv) != 4:
        print(__doc__)
        return 1
    source, name, about = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    plan = Plan.load(Path(source)).with_(about=about)
    outcome = simulate(plan)
    if not outcome.passed:
        print(f"not kept: it still breaks {', '.join(outcome.promises)}; mend that first")
        return 1
    if outcome.cpu_seconds > CPU_SECONDS_MAX:
        print(f"not kept: it takes {outcome.cpu_seconds:.1f} s of CPU; {CPU_SECONDS_MAX:g} are enough: shrink it")
        return 1
    path = KEPT / f"{name}.json"
    path.write_text(plan.to_json() + "\n")
    print(f"{path}: {outcome.cpu_seconds:.2f} s of CPU. Take the fix out, and see it fail.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
