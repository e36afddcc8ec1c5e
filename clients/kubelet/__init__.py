"""The hollow kubelet, and the process that hosts many of them."""

from .core import Kubelet
from .hollow import HollowNodes
from .node import hollow_node
from .options import Delay, HollowNodesOptions
from .runs import EXIT_CODE_ANNOTATION, RUN_SECONDS_ANNOTATION

__all__ = [
    "EXIT_CODE_ANNOTATION",
    "RUN_SECONDS_ANNOTATION",
    "Delay",
    "HollowNodes",
    "HollowNodesOptions",
    "Kubelet",
    "hollow_node",
]
