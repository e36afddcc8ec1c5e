"""The hollow kubelet, and the process that hosts many of them."""

from .core import RUN_SECONDS_ANNOTATION, Kubelet
from .hollow import HollowNodes
from .node import hollow_node
from .options import Delay, HollowNodesOptions

__all__ = ["RUN_SECONDS_ANNOTATION", "Delay", "HollowNodes", "HollowNodesOptions", "Kubelet", "hollow_node"]
