"""The same pods on the same nodes under different profiles of the scheduler, side by side."""
