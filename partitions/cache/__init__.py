"""What is published of a store: its objects in key order with their indexes, and the window of recent changes."""
