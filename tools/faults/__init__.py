"""Faults of the links of a cluster that runs: cut, delayed and frozen on request, and healed again."""
