"""The scheduling framework: extension points, profiles, and how plugins are run over all nodes."""
