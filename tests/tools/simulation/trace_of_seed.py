"""Prints the digest of the trace of a seed, and how long it is: `python trace_of_seed.py SEED`."""

import logging
import sys

from ursa.tools.simulation import Swarm, Topology, draw_plan, simulate

if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    outcome = simulate(draw_plan(int(sys.argv[1]), Swarm(Topology(2, 1, 3), seconds=30.0)))
    print(outcome.digest, outcome.messages)
