"""What becomes of the dependents of an object that is deleted: Kubernetes' propagation policies, and their finalizers.

Background: the object goes at once, the garbage collector deletes its dependents afterwards. Foreground: it stays,
marked by a finalizer, until the dependents that block it are gone. Orphan: it stays until its dependents have
forgotten it. A finalizer is what a policy leaves behind, so it also is what a later request finds of it.
"""

from __future__ import annotations

from .errors import BadRequest

BACKGROUND, FOREGROUND, ORPHAN = "Background", "Foreground", "Orphan"
POLICIES = (BACKGROUND, FOREGROUND, ORPHAN)
FOREGROUND_FINALIZER = "foregroundDeletion"
ORPHAN_FINALIZER = "orphan"
FINALIZER_OF = {FOREGROUND: FOREGROUND_FINALIZER, ORPHAN: ORPHAN_FINALIZER}
POLICY_OF = {finalizer: policy for policy, finalizer in FINALIZER_OF.items()}


def check_policy(policy: str) -> None:
    """Raises BadRequest: there is no such policy."""
    if policy and policy not in POLICIES:
        known = ", ".join(POLICIES)
        raise BadRequest(f"there is no propagation policy {policy!r}: write one of {known}, or leave it out")
