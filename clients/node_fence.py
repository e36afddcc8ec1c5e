"""How long a cut-off kubelet lets its pods run, and how long others wait before they run them again.

A pod of a node that is out of reach may still run there. Its name is free for another instance once it is deleted for
good, which on a node that answers its kubelet confirms. Where none answers, time must stand for the confirmation:

    kubelet:     hears of neither its own partition nor the pod's  |-- FENCE_SECONDS --| and stops the pod
    controller:  the node is gone, the pod marked for deletion     |-- FENCE_SECONDS * CLOCK_RATE_MAX --| and deletes it

Whoever still hears of the pod's partition is told of the mark, stops the pod and confirms; who still renews its Lease
has a Node that is there, and nobody deletes its pods for good. So only a kubelet that hears of neither need stop
anything by itself, and a partition that is away, or all tenant partitions, stop nothing.

No clock is compared with another; each side measures its own time, at rates that differ by less than CLOCK_RATE_MAX.
What a kubelet hears may be as old as messages get (seconds; a link that says nothing is given up after 20): the
controller's quarantine of 40 s for missing nodes comes before its wait, and covers that. A kubelet process that does
not run at all stops nothing: whoever stops it must stop its containers.

The length follows from when others begin to act, the grace period of nodes and the toleration of pods (40 + 300 s): the
kubelet is done before, at any rate of its clock.
"""

from __future__ import annotations

FENCE_SECONDS = 200.0
CLOCK_RATE_MAX = 1.5
