"""Room for a pod that fits nowhere, made by evicting pods of lower priority of the same tenant partition."""

from __future__ import annotations
