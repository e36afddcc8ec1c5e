"""The plugins that come with Ursa, and those that Kubernetes has by default."""

from __future__ import annotations

from typing import Final

from ..framework.interface import Plugin
from .coscheduling import Coscheduling
from .default_binder import DefaultBinder
from .default_preemption import DefaultPreemption
from .gpu_fragmentation import GpuFragmentation
from .gpu_packing import DotProduct, GpuBestFit, GpuClustering, GpuPacking, RandomNode
from .gpu_share import GpuShare
from .gpu_stranding import GpuStranding
from .image_locality import ImageLocality
from .inter_pod_affinity import InterPodAffinity
from .node_affinity import NodeAffinity
from .node_name import NodeName
from .node_ports import NodePorts
from .node_resources_balanced_allocation import NodeResourcesBalancedAllocation
from .node_resources_fit import NodeResourcesFit
from .node_unschedulable import NodeUnschedulable
from .pod_topology_spread import PodTopologySpread
from .priority_sort import PrioritySort
from .scheduling_gates import SchedulingGates
from .taint_toleration import TaintToleration
from .volume_binding import VolumeBinding
from .volume_zone import VolumeZone

# In the order in which they are asked: what refuses many nodes cheaply comes first.
_PLUGINS: Final[tuple[type[Plugin], ...]] = (
    NodeUnschedulable,
    NodeName,
    TaintToleration,
    NodeAffinity,
    NodePorts,
    NodeResourcesFit,
    VolumeBinding,
    VolumeZone,
    NodeResourcesBalancedAllocation,
    ImageLocality,
    PodTopologySpread,
    InterPodAffinity,
    GpuShare,
    GpuFragmentation,
    GpuStranding,
    GpuBestFit,
    GpuPacking,
    GpuClustering,
    DotProduct,
    RandomNode,
    SchedulingGates,
    PrioritySort,
    DefaultPreemption,
    DefaultBinder,
    Coscheduling,
)
BUILT_IN: Final = {plugin.name: plugin for plugin in _PLUGINS}
# What is on where a configuration says nothing, with the weights of its scores.
DEFAULT_WEIGHTS: Final = {
    "NodeUnschedulable": 1,
    "NodeName": 1,
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "NodePorts": 1,
    "NodeResourcesFit": 1,
    "VolumeBinding": 1,
    "VolumeZone": 1,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "GpuShare": 1,
    "SchedulingGates": 1,
    "PrioritySort": 1,
    "DefaultPreemption": 1,
    "DefaultBinder": 1,
}
