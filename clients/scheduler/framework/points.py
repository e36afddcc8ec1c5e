"""The extension points by their names in a KubeSchedulerConfiguration."""

from __future__ import annotations

from typing import Final

from .interface import (
    AsyncPreBindPlugin,
    BindPlugin,
    FilterPlugin,
    NodeFilterPlugin,
    NodeScorePlugin,
    PermitPlugin,
    Plugin,
    PostBindPlugin,
    PostFilterPlugin,
    PreBindPlugin,
    PreEnqueuePlugin,
    PreFilterPlugin,
    PreScorePlugin,
    QueueSortPlugin,
    ReservePlugin,
    ScorePlugin,
    WaitingPreBindPlugin,
)

POINTS: Final[dict[str, tuple[type[Plugin], ...]]] = {
    "preEnqueue": (PreEnqueuePlugin,),
    "queueSort": (QueueSortPlugin,),
    "preFilter": (PreFilterPlugin,),
    "filter": (FilterPlugin, NodeFilterPlugin),
    "postFilter": (PostFilterPlugin,),
    "preScore": (PreScorePlugin,),
    "score": (ScorePlugin, NodeScorePlugin),
    "reserve": (ReservePlugin,),
    "permit": (PermitPlugin,),
    "preBind": (PreBindPlugin, AsyncPreBindPlugin, WaitingPreBindPlugin),
    "bind": (BindPlugin,),
    "postBind": (PostBindPlugin,),
}
MULTI_POINT: Final = "multiPoint"


def takes_part(plugin: type[Plugin], point: str) -> bool:
    return issubclass(plugin, POINTS[point])
