"""Writes: batches, what an operation would do, who owns which field, and what became of it."""
