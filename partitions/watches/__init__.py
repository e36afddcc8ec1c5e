"""Watches: who wants which change, encoded and joined once for all who do, and what is on its way to whom."""
