"""Judges: pure functions that look at what was recorded of a run and say what must not have happened."""
