"""compare.html: one page without a network, as the reports are: a table, and small plots of one scale each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from plotly.offline import get_plotlyjs

from ..report.page_style import SCRIPT, STYLE

_SMALL = ".plots { grid-template-columns: repeat(auto-fit, minmax(min(100%, 330px), 1fr)); } figure { height: 240px; }"
NOT_MEASURED: Final = "–"  # noqa: RUF001 - it is the dash of tables
# Of a profile's row: the heading, the figure, and how it is shown.
COLUMNS: Final = (
    ("allocated", "allocatedPercent", "{:.2f}"),
    ("±", "allocatedPercentDeviation", "{:.2f}"),
    ("frag.", "fragmentedPercent", "{:.2f}"),
    ("placed", "placed", "{:,}"),
    ("of", "pods", "{:,}"),
    ("over", "overcommitted", "{}"),
    ("conflicts", "conflictPercent", "{:.2f}"),
    ("p50 ms", "startupP50Milliseconds", "{:,.0f}"),
    ("p99 ms", "startupP99Milliseconds", "{:,.0f}"),
    ("µs/pod", "cpuMicrosecondsPerPod", "{:,.0f}"),
    ("s/run", "cpuSeconds", "{:.2f}"),
)


def rows(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The table's, the best allocation first."""
    profiles = sorted(document["profiles"], key=lambda profile: -profile["allocatedPercent"])
    return [(profile["name"], *(_shown(profile[figure], how) for _, figure, how in COLUMNS)) for profile in profiles]


def _shown(figure: float | None, how: str) -> str:
    return NOT_MEASURED if figure is None else how.format(figure)


def heading(document: Mapping[str, Any]) -> str:
    seeds = len(document["seeds"])
    return f"{document['workload']}: {document['nodes']:,} nodes, {seeds} seed{'s' if seeds > 1 else ''}"


def _note(document: Mapping[str, Any]) -> str:
    return (
        f"Means over the seeds. Allocated, and left as fragments: percent of {document['resource']}. Over: how often "
        f"a node or a device held too much. µs and s: CPU. Equal scores: {document['ties']}. {_shared(document)}"
    )


def _shared(document: Mapping[str, Any]) -> str:
    shared = document["shared"]
    if not shared["seeds"]:
        return "Conflicts and startup were not measured."
    seeds, nodes = len(shared["seeds"]), shared["nodes"]
    sample = "" if nodes == document["nodes"] else f", a sample of {nodes} nodes"
    return (
        f"Conflicts (percent of claims refused) and startup (ms from creation to Running, in virtual time): "
        f"{shared['schedulers']} schedulers that share the nodes{sample}, {shared['podsPerSecond']:g} pods/s, "
        f"{seeds} seed{'s' if seeds > 1 else ''}."
    )


def render_compare_page(document: Mapping[str, Any]) -> str:
    """The whole page. Everything that came from outside is escaped."""
    plots = _plots(document["profiles"])
    head = "".join(f"<th>{escape(name)}</th>" for name in ("profile", *(column[0] for column in COLUMNS)))
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows(document))
    figures = "".join(f'<figure id="{name}"></figure>' for name in plots)
    series = json.dumps(plots, allow_nan=False).replace("</", "<\\/")
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>compare · {escape(heading(document))}</title>",
            f"<style>{STYLE}{_SMALL}</style></head><body><main>",
            f'<header class="pass"><div><h1>{escape(heading(document))}</h1>',
            f"<p>{escape(_note(document))}</p></div></header>",
            f'<section><h2>Profiles</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>',
            f"<tbody>{body}</tbody></table></div></section>",
            f'<section class="plots">{figures}</section>',
            f'<script type="application/json" id="series">{series}</script>',
            f"<script>{get_plotlyjs()}</script><script>{SCRIPT}</script>",
            "</main></body></html>",
        )
    )


def _plots(profiles: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One for each profile, what it leaves unallocated and what of that are fragments, all by what has arrived."""
    return {f"profile-{number}": _plot(profile) for number, profile in enumerate(profiles)}


def _plot(profile: Mapping[str, Any]) -> dict[str, Any]:
    series = profile["series"]
    arrived, allocated, fragments = (
        series[name] for name in ("arrivedPercent", "allocatedPercent", "fragmentedPercent")
    )
    lines = [_line("allocated", arrived, allocated, 2)]
    if fragments:
        lines.append(_line("fragments", arrived, fragments, 1))
    title = f"{profile['name']} · {profile['allocatedPercent']:.2f} %"
    return {"title": title, "x": "arrived, percent", "y": "percent", "traces": lines, "marks": []}


def _line(name: str, x: Sequence[float], y: Sequence[float], color: int) -> dict[str, Any]:
    return {"type": "scatter", "mode": "lines", "name": name, "x": list(x), "y": list(y), "color": color}
