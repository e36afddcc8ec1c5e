"""What a scheduling plugin is: Kubernetes' extension points, over all nodes at once or over one.

A pod passes the points in this order; a plugin takes part in those whose class it derives from:

    PreEnqueue     may it be queued at all?                          of one pod
    QueueSort      which pod comes first?
    PreFilter      what can be worked out once for all nodes;        of a shape: pods with the same spec, namespace
                   that it fits nowhere, or that Filter is moot      and labels are one to these points
    Filter         on which nodes may it run?
    PostFilter     it fits nowhere: what would help? (preemption)
    PreScore, Score, NormalizeScore   how good is each node, 0 to 100?
    Reserve        a node has been chosen                            of one pod on one node
    Permit         go on, wait for others, or give up
    PreBind, Bind, PostBind

Filter and Score are written in one of two ways, which give the same answers:

    FilterPlugin.filter(state, pod, nodes, slots)   arrays: one entry a slot     fast
    NodeFilterPlugin.filter_node(state, pod, node)  plain values of one node     simple; adapted by `adapters.py`

Both are pure functions: they read what they are given, keep nothing, and do no I/O. What a plugin answers is kept for
each shape, and asked again only for nodes of which something changed that the plugin `depends` on; so the simple way
costs one call a placement once a shape is known.

The points and their names are Kubernetes' (https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework);
arrays over all nodes are ours.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..binding_cycles import Binding
    from ..columns import NodeColumns
    from ..pending import PendingPod
    from .node_view import NodeView
    from .shape import Shape

Bools = NDArray[np.bool_]
Scores = NDArray[np.int64]
# Which slots of the node table are asked about: all in a row, or some.
Slots = slice | NDArray[np.intp]
# Twins of `filter` and `score` for one slot, with all that does not depend on the slot worked out before.
SlotFilter = Callable[[int], bool]
SlotScore = Callable[[int], int]

SCORE_MAX: Final = 100
# How long a plugin may take to bind a pod, or to prepare that: of use is what is slow, and not what hangs.
BINDING_SECONDS_MAX: Final = 30.0


class Depends(enum.IntEnum):
    """What an answer about a node is computed from, and so what makes it out of date. Each includes those before."""

    NODE = 0  # the node itself: labels, taints, conditions, allocatable, images
    ROOM = 1  # and what is held on it: free amounts, ports, devices
    PODS = 2  # and which pods run anywhere: asked anew for every pod, over all nodes
    VOLUMES = 3  # and which volumes there are: asked anew for every pod that has claims, over all nodes


class PluginError(Exception):
    """A plugin has raised, or answered nonsense. The pod it was asked about waits; others go on."""

    def __init__(self, plugin: str, problem: str) -> None:
        super().__init__(f"plugin {plugin} {problem}")
        self.plugin = plugin


class Skip:
    """PreFilter's or PreScore's answer: this shape needs no Filter, or no Score, of this plugin. Bind's: not my pod."""


SKIP: Final = Skip()


class Unresolvable(NamedTuple):
    """PreFilter's answer: the pod fits nowhere, whatever is evicted. `reason` in Kubernetes' words."""

    reason: str


class Plugin:
    """`name` as in a KubeSchedulerConfiguration. `args` is its `pluginConfig`, defaults not filled in.

    Raises (the constructor):
        ValueError: the arguments make no sense; the message names the field and says what would.
    """

    name: ClassVar[str]
    # It looks at nothing of a pod but its `template`: pods that differ in labels and namespace share its answers.
    template_only: ClassVar[bool] = False

    def needs_bound_pods(self, pod: Shape) -> bool:
        """Of a plugin that depends on PODS: it can say nothing of this shape before all pods on nodes are known."""
        return True

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        if args:
            raise ValueError(f"{self.name} takes no arguments, not {sorted(args)}")


class PreEnqueuePlugin(Plugin, abc.ABC):
    @abc.abstractmethod
    def pre_enqueue(self, pod: PendingPod) -> str:
        """Why the pod is not to be queued yet; empty: it may be."""


class QueueSortPlugin(Plugin, abc.ABC):
    @abc.abstractmethod
    def sort_key(self, pod: PendingPod) -> tuple[Any, ...]:
        """Pods come in ascending order of it; arrival breaks ties. Numbers and texts, the same kinds for every pod."""


class PreFilterPlugin(Plugin, abc.ABC):
    @abc.abstractmethod
    def pre_filter(self, pod: Shape, nodes: NodeColumns) -> Any:
        """The `state` that `filter` gets; SKIP: it need not be asked; Unresolvable: no node will do.

        Asked for every pod if the plugin depends on PODS or VOLUMES; otherwise once for a shape, and again when a node
        or the set of resources has changed: if the state is another then (`==`), all nodes are asked about anew.
        """


class FilterPlugin(Plugin, abc.ABC):
    depends: ClassVar[Depends]

    @abc.abstractmethod
    def filter(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Bools:
        """True where the pod may run; one entry for each of `slots`."""

    def slot_filter(self, state: Any, pod: Shape, nodes: NodeColumns) -> SlotFilter | None:
        """The same for one slot, ten times faster than arrays of one; None: there is none. Valid until the node table's
        `layout` changes."""
        return None

    @abc.abstractmethod
    def reasons(self, state: Any, pod: Shape, nodes: NodeColumns, slots: NDArray[np.intp]) -> Mapping[str, int]:
        """Why it may not run on these, all of them refused by `filter`: how many nodes for each reason, in Kubernetes'
        words (`Insufficient cpu`). A node may count under several."""


class NodeFilterPlugin(Plugin, abc.ABC):
    depends: ClassVar[Depends]

    @abc.abstractmethod
    def filter_node(self, state: Any, pod: Shape, node: NodeView) -> str:
        """Why the pod may not run there; empty: it may."""


class Nominated(NamedTuple):
    """PostFilter's answer: the pod is to run on the node of this slot, where its room is held for it from now on.

    `victims`: the uids of pods to be evicted for it. They run there, and are seen in `nodes.pods.on(slot)`. Without any
    the room is held until the pod is next looked at.
    """

    slot: int
    victims: tuple[str, ...] = ()


class MadeRoom(NamedTuple):
    """PostFilter's answer: what helps the pod has been done, and will show by itself."""


class PostFilterPlugin(Plugin, abc.ABC):
    """Asked in the profile's order, up to the first that helps, each time that a pod was looked at and fits nowhere."""

    @abc.abstractmethod
    def post_filter(self, pod: PendingPod, nodes: NodeColumns) -> Nominated | MadeRoom | None:
        """What makes room for the pod; None: nothing, and the next plugin is asked. `nodes.pods` knows all pods of the
        home partition that are bound."""


class PreScorePlugin(Plugin, abc.ABC):
    @abc.abstractmethod
    def pre_score(self, pod: Shape, nodes: NodeColumns, feasible: Bools) -> Any:
        """The `state` that `score` gets; SKIP: it need not be asked.

        Asked for every pod if the plugin depends on PODS or VOLUMES; otherwise as often as `pre_filter`, with all nodes
        for `feasible`.
        """

    def skips(self, pod: Shape, nodes: NodeColumns) -> bool:
        """True: `pre_score` would answer SKIP, whatever is feasible. Asked first, if the plugin depends on PODS; so a
        pod that it does not concern costs little."""
        return False


class Normalize(enum.Enum):
    """What becomes of a plugin's raw scores, over the nodes that passed every Filter."""

    NONE = "none"  # they are 0 to 100 already
    MAX = "max"  # 100 x score / the greatest, rounded down; all 0 if that is 0
    REVERSE_MAX = "reverse-max"  # 100 - that; all 100 if the greatest is 0
    OWN = "own"  # `normalize_scores` says


class ScorePlugin(Plugin, abc.ABC):
    depends: ClassVar[Depends]
    normalize: ClassVar[Normalize] = Normalize.NONE

    @abc.abstractmethod
    def score(self, state: Any, pod: Shape, nodes: NodeColumns, slots: Slots) -> Scores:
        """One entry for each of `slots`; 0 to 100 where it is not normalised."""

    def slot_score(self, state: Any, pod: Shape, nodes: NodeColumns) -> SlotScore | None:
        """The same for one slot, as `FilterPlugin.slot_filter`."""
        return None

    def normalize_scores(self, state: Any, pod: Shape, scores: Scores) -> Scores:
        """Of the feasible nodes only, 0 to 100; for Normalize.OWN."""
        raise NotImplementedError(f"{self.name} normalises by itself, but does not say how")


class NodeScorePlugin(Plugin, abc.ABC):
    depends: ClassVar[Depends]
    normalize: ClassVar[Normalize] = Normalize.NONE

    @abc.abstractmethod
    def score_node(self, state: Any, pod: Shape, node: NodeView) -> int:
        """0 to 100 where it is not normalised."""

    def normalize_scores(self, state: Any, pod: Shape, scores: Scores) -> Scores:
        """As `ScorePlugin.normalize_scores`."""
        raise NotImplementedError(f"{self.name} normalises by itself, but does not say how")


class ReservePlugin(Plugin, abc.ABC):
    @abc.abstractmethod
    def reserve(self, pod: PendingPod, slot: int) -> str:
        """The pod is to go there. Why not, if it cannot; empty: noted."""

    @abc.abstractmethod
    def unreserve(self, pod: PendingPod, slot: int) -> None:
        """It does not go there after all. Called for every plugin, also for those that were not asked to reserve."""


class Allow(NamedTuple):
    """Permit's answer: bind it."""


class Wait(NamedTuple):
    """Permit's or PreBind's answer: hold the claim until another plugin's or pod's doing allows it, at most so long."""

    seconds: float


class Deny(NamedTuple):
    """Permit's answer: give the claim up."""

    reason: str


class PermitPlugin(Plugin, abc.ABC):
    @abc.abstractmethod
    def permit(self, pod: PendingPod, slot: int) -> Allow | Wait | Deny:
        """Its claim holds. May it be bound?"""

    def allows(self, pod: PendingPod) -> Sequence[str]:
        """Now that this one is to be bound: the uids of those that need wait no longer."""
        return ()

    def gives_up(self, pod: PendingPod) -> Sequence[str]:
        """This one fits nowhere, or has waited for too long: the uids of those whose claims are to be given up."""
        return ()


class PreBindPlugin(Plugin, abc.ABC):
    """Does no I/O: that is for an AsyncPreBindPlugin."""

    @abc.abstractmethod
    def pre_bind(self, pod: PendingPod, slot: int) -> str:
        """Why it cannot be bound there; empty: it can."""


class WaitingPreBindPlugin(Plugin, abc.ABC):
    """A PreBindPlugin that waits for what others do, as VolumeBinding does for volumes. It does no I/O, and takes no
    task. It is asked before the other PreBind plugins, and also of pods that an earlier process has claimed."""

    @abc.abstractmethod
    def pre_bind(self, pod: PendingPod, slot: int) -> str | Wait:
        """Why it cannot be bound there; empty: it can. Wait: it is asked again when news of volumes have come, and when
        the time is up the claim is given up. It may be asked again after it has answered, because another waits."""


class AsyncPreBindPlugin(Plugin, abc.ABC):
    """A PreBindPlugin that does I/O, with trio. Each pod that comes to it gets a task of its own."""

    # It has failed if it has not answered by then; Kubernetes leaves such bounds to each plugin.
    seconds_max: ClassVar[float] = BINDING_SECONDS_MAX

    @abc.abstractmethod
    async def pre_bind(self, pod: PendingPod, binding: Binding) -> str:
        """Why it cannot be bound to the node that it holds a claim of; empty: it can."""


class BindPlugin(Plugin, abc.ABC):
    """Binds pods, with I/O if it likes, after the claim on the node holds. Asked in the profile's order, up to the
    first that does not skip the pod."""

    # It may leave a pod to the next. Those that do not come last.
    skips: ClassVar[bool] = True
    seconds_max: ClassVar[float] = BINDING_SECONDS_MAX

    @abc.abstractmethod
    async def bind(self, pod: PendingPod, binding: Binding) -> str | Skip:
        """Why it cannot be bound; SKIP: the next plugin is to do it; empty: it is to be bound, and is, if
        `binding.bind()` was not asked to do that here, as soon as this is answered."""


class PostBindPlugin(Plugin, abc.ABC):
    @abc.abstractmethod
    def post_bind(self, pod: PendingPod, slot: int) -> None:
        """It is bound."""


class EventResource(enum.Enum):
    """Of what something has changed."""

    POD = "Pod"  # one that runs, of the home partition: it came, went, or its labels changed
    NODE = "Node"
    PLACEMENT = "Placement"  # something held on a node, of anybody
    CLAIM = "PersistentVolumeClaim"
    VOLUME = "PersistentVolume"
    STORAGE_CLASS = "StorageClass"
    POD_GROUP = "PodGroup"


class EventAction(enum.Flag):
    ADD = enum.auto()
    DELETE = enum.auto()
    UPDATE_LABELS = enum.auto()
    UPDATE_TAINTS = enum.auto()
    UPDATE_ALLOCATABLE = enum.auto()
    UPDATE_CONDITIONS = enum.auto()
    UPDATE = UPDATE_LABELS | UPDATE_TAINTS | UPDATE_ALLOCATABLE | UPDATE_CONDITIONS


class VolumeNews(NamedTuple):
    """Of which claim, volume or class something is news. `claim`: (namespace, name), of a volume the one it names."""

    tenant: str = ""
    claim: tuple[str, str] = ("", "")
    volume: str = ""
    class_name: str = ""


class ClusterEvent(NamedTuple):
    """Something that may help a pod that a plugin has refused. `about`: which claim, volume or class; None: any."""

    resource: EventResource
    actions: EventAction
    about: VolumeNews | None = None


class EnqueuePlugin(Plugin, abc.ABC):
    """Says what can help the pods it has refused (Kubernetes' EnqueueExtensions and QueueingHintFn)."""

    helped_by: ClassVar[tuple[ClusterEvent, ...]]

    def may_help(self, pod: Shape, event: ClusterEvent, slot: int) -> bool:
        """Whether this very event may; `slot` is the node it concerns, -1 if none."""
        return True
